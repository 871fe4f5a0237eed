"""A stress test that finds the knee: the load up to which a cluster still does all that it is offered.

Simulated: clusters whose knee follows from their slots and the length of the tasks; the answer must be close
to it. Real: a cluster of this machine, whose knee is unknown. There the answer is compared with what the
learner's own steps showed, as the history has them, so that a slow machine has a low knee and no fault.
"""

from __future__ import annotations

from random import Random
from typing import Any

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.practice.clusters import private_cluster
from labkit.practice.exercises.ex25_knee.play import MOST_STEPS
from labkit.practice.learner import Learner
from labkit.practice.load import of_history
from labkit.practice.verdict import Finding, Inconclusive
from labkit.security.credentials import Token

TOLERANCE = 0.25
WORKERS, TASK_S, START = 2, 0.05, 10.0
FOLLOWS, BEYOND = 0.6, 2.0
"""Real: the best throughput seen is at least this part of the answer, and at most this many times of it."""
SIMULATED_S, REAL_S = 15.0, 30.0
"""Of one search. Nearly all of it is spent in our simulator, or in waiting for our cluster."""


def simulated(learner: Learner, seed: int) -> None:
    """Judge one search on a cluster whose knee is known."""
    random = Random(f"{seed} cluster")
    slots = [random.randint(1, 2) for _ in range(random.randint(2, 4))]
    task_s = random.uniform(0.03, 0.12)
    knee = sum(slots) / task_s
    start = knee * random.uniform(0.15, 0.35)
    learner.grant(SIMULATED_S)
    found = learner.play("simulated", seed, slots, task_s, start, limit_s=SIMULATED_S, known_as="find_knee")
    answer = _judge_steps(found)
    if abs(answer - knee) > TOLERANCE * knee:
        high = answer > knee
        raise Finding(
            "too-high" if high else "too-low",
            N_("find_knee found {answer:.1f} tasks per second; the cluster's knee is at {knee:.1f}"),
            expected=N_("an answer from {least:.1f} to {most:.1f} tasks per second"),
            advice=N_("The last load that was followed lies below the knee. Which loads did you not try yet?")
            if not high
            else N_("At a load above the knee, results per second stay behind the offer and p95 grows."),
            answer=answer, knee=knee, least=(1 - TOLERANCE) * knee, most=(1 + TOLERANCE) * knee,
        )  # fmt: skip


def real(learner: Learner) -> None:
    """Judge one search on real workers, by the history."""
    with private_cluster(learner, WORKERS) as cluster:
        credentials = cluster.credentials
        assert isinstance(credentials, Token)
        where = cluster.address, credentials.secret
        learner.grant(REAL_S)
        found = learner.play("real", *where, TASK_S, START, limit_s=REAL_S, known_as="find_knee")
        history = cluster.history()
    if found["why"] == "cannot-offer":
        raise Inconclusive(
            N_("this machine was too busy: of {asked:.0f} tasks per second it submitted {offered:.0f}"),
            asked=found["steps"][-1][0],
            offered=found["steps"][-1][1],
        )
    if found["why"] == "not-done":
        raise Inconclusive(N_("this machine was too busy: not all tasks of a step ended in time"))
    answer = _judge_steps(found)
    ended = {event.task for event in history.events if event.kind == h.DONE}
    steps = [of_history(history.events, tasks) for *_seen, tasks in found["steps"] if ended.issuperset(tasks)]
    if not any(step.done > 0.8 * step.offered for step in steps):
        raise Inconclusive(N_("this machine was too busy: the cluster followed no load at all"))
    best = max(step.done for step in steps)
    if not answer * FOLLOWS <= best <= answer * BEYOND:
        raise Finding(
            "too-high" if best < answer else "too-low",
            N_("find_knee found {answer:.1f} tasks per second; your steps showed at most {best:.1f}"),
            expected=N_("the knee is about the most that the cluster was seen to do"),
            advice=N_("Print each step in find_knee: rate, offered, done and p95_s."),
            answer=answer, best=best,
        )  # fmt: skip


def _judge_steps(found: dict[str, Any]) -> float:
    """Return the answer, if it is one and the steps that led to it are those of a stress test."""
    rates = [step[0] for step in found["steps"]]
    if found["why"] == "jump":
        raise Finding(
            "jump",
            N_("step {step} offered {rate:.1f} tasks per second, after at most {before:.1f}"),
            expected=N_("each step offers at most twice the highest load so far; the first one is start"),
            advice=N_("A cluster in use would be flooded. Raise the load by a factor, step by step."),
            step=len(rates), rate=rates[-1], before=found["steps"][-1][1],
        )  # fmt: skip
    if found["why"] == "too-many":
        raise Finding(
            "too-many",
            N_("find_knee wanted more than {most} measurements"),
            expected=N_("it finds the knee with at most {most} measurements"),
            advice=N_("Multiply the load instead of adding to it, then halve the interval around the knee."),
            most=MOST_STEPS,
        )
    answer = found["answer"]
    if answer is None or answer <= 0:
        raise Finding(
            "wrong-type",
            N_("find_knee returned {answer}"),
            expected=N_("find_knee returns a load in tasks per second"),
            advice=N_("Return the highest load that the cluster still followed."),
            answer=found["kind"] if answer is None else answer,
        )
    if not rates or max(rates) <= answer:
        raise Finding(
            "not-beyond",
            N_("find_knee returned {answer:.1f}, and measured no load above that"),
            expected=N_("at least one step beyond the knee, which shows that it is one"),
            advice=N_("Raise the load until the cluster does not follow any more."),
            answer=answer,
        )
    return float(answer)
