"""A policy of the learner's own: unequal workers, crashes, and 50 seeds on which it must beat chance.

Simulated: four workers of different speed and size, two of which may be killed. On every seed all promises
hold. Over all seeds, the median of a task's time from submission to outcome is at least a fifth below that
with a random choice. Real: a broker runs the function while a worker is killed; nothing is lost.
"""

from __future__ import annotations

import statistics

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Event
from labkit.practice.clusters import kill_while_computing, private_cluster, run_sleeps
from labkit.practice.learner import Learner
from labkit.practice.policies import Remote, judge_real_run
from labkit.practice.verdict import Finding
from labkit.simulation import simulate
from labkit.simulation.scenario import Place, uneven

PLACES = (Place(3), Place(), Place(slowness=3.0), Place(slowness=6.0))
TASKS, EVERY_S, RUN_S = 25, 0.1, 5.0
FAULTS = ("kill",)
AT_MOST = 0.8
"""Share of the time with a random choice."""
REAL_TASKS_S = [0.2, 0.02, 0.02, 0.02, 0.02] * 5


def simulated(learner: Learner, seed: int) -> tuple[float, float]:
    """Return the mean time of a task with the learner's policy and with a random choice, in seconds."""
    scenario = uneven(seed, TASKS, PLACES, EVERY_S)
    policy = Remote(learner)
    run = simulate(seed, faults=FAULTS, policy=policy, safety_s=RUN_S, scenario=scenario)
    policy.raise_failure(run)
    if run.violations:
        violation = run.violations[0]
        raise Finding(
            "promise-broken",
            N_("with this policy a promise was broken at {at:.2f} s: {why}"),
            expected=N_("every task ends, whatever the policy chooses"),
            advice=N_("A policy that returns None for ever leaves tasks in the queue."),
            at=violation.at,
            why=violation.why,
        )
    chance = simulate(seed, faults=FAULTS, policy="random_choice", safety_s=RUN_S, scenario=scenario)
    return mean_s(run.history), mean_s(chance.history)


def together(values: list[tuple[float, float]]) -> None:
    """Compare the medians over all seeds."""
    mine, chance = (statistics.median(column) for column in zip(*values, strict=True))
    if mine > AT_MOST * chance:
        raise Finding(
            "not-better",
            N_(
                "a task took {mine:.2f} s on the median of {seeds} seeds; with a random choice {chance:.2f} s"
            ),
            expected=N_("a task takes at most {most:.2f} s, {part:.0%} of the time with a random choice"),
            advice=N_(
                "The workers differ: completed shows how quick one was so far, slots how many it takes."
            ),
            mine=mine,
            chance=chance,
            most=AT_MOST * chance,
            part=AT_MOST,
            seeds=len(values),
        )


def real(learner: Learner) -> None:
    """Run a real broker with the policy, and kill a worker while it computes."""
    with private_cluster(learner, 3, policy=f"work.{learner.exercise.module}:choose") as cluster:
        history = run_sleeps(cluster, REAL_TASKS_S, every_s=0.04, disturb=kill_while_computing("worker-2"))
    judge_real_run(history)


def mean_s(events: list[Event]) -> float:
    """Return the mean time from a task's submission to its outcome, in seconds."""
    submitted: dict[str, float] = {}
    for event in events:
        if event.kind == h.SUBMITTED:
            submitted.setdefault(event.task, event.at)
    ended = {event.task: event.at for event in events if event.kind in h.OUTCOMES}
    return statistics.fmean(at - submitted[task] for task, at in ended.items())
