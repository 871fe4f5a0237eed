"""Predict, then simulate: Amdahl's law, and how long a list of tasks takes on some workers.

Simulated: the learner predicts both. The prediction is judged against the model that the text describes; the
simulator then runs the same tasks, and the message shows how long they took there.
"""

from __future__ import annotations

from random import Random

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Event
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding
from labkit.simulation import simulate
from labkit.simulation.scenario import Place, Scenario, work

TOLERANCE_S = 0.02


def simulated(learner: Learner, seed: int) -> None:
    """Judge one prediction of each kind."""
    random = Random(f"{seed} prediction")
    serial, workers = round(random.uniform(0.02, 0.6), 2), random.randint(2, 16)
    right = 1 / (serial + (1 - serial) / workers)
    answer = learner.call("speed_up", serial, workers)
    if not isinstance(answer, (int, float)) or abs(answer - right) > 0.01 * right:
        raise Finding(
            "wrong-speed-up",
            N_("with {serial:.0%} serial work and {workers} workers you predict a speed-up of {answer!r}"),
            expected=N_("Amdahl's law gives {right:.2f}"),
            advice=N_("The serial part takes as long as before; only the rest is divided among the workers."),
            serial=serial,
            workers=workers,
            answer=answer,
            right=right,
        )
    workers = random.randint(2, 4)
    seconds = [round(random.choice((0.2, 0.2, 0.2, 1.5)) * random.uniform(0.8, 1.2), 2) for _ in range(12)]
    answer = learner.call("makespan", seconds, workers)
    predicted_s = _model_s(seconds, workers)
    if not isinstance(answer, (int, float)) or abs(answer - predicted_s) > TOLERANCE_S:
        raise Finding(
            "wrong-makespan",
            N_("for {seconds} on {workers} workers you predict {answer!r} s"),
            expected=N_(
                "{right:.2f} s; the simulated cluster, which hands out one task in advance, took {took:.2f} s"
            ),
            advice=N_(
                "Follow one task after the other: which worker is free first, and until when is it busy then?"
            ),
            seconds=seconds,
            workers=workers,
            answer=answer,
            right=predicted_s,
            took=_simulated_s(seed, seconds, workers),
        )


def _model_s(seconds: list[float], workers: int) -> float:
    """Return the makespan if each task goes to the worker that is free first."""
    free_at = [0.0] * workers
    for task_s in seconds:
        free_at[free_at.index(min(free_at))] += task_s
    return max(free_at)


def _simulated_s(seed: int, seconds: list[float], workers: int) -> float:
    """Return the seconds from the first start to the last result of a simulated run."""
    random = Random(f"{seed} ids")
    works = [
        work(random.randbytes(12) + number.to_bytes(4, "big"), task_s, 0.5 + number * 1e-4)
        for number, task_s in enumerate(seconds)
    ]
    run = simulate(seed, faults=(), policy="least_busy", scenario=Scenario(works, [Place()] * workers))
    run.require_ok()
    return _last(run.history, h.DONE) - min(event.at for event in run.history if event.kind == h.STARTED)


def _last(events: list[Event], kind: str) -> float:
    return max(event.at for event in events if event.kind == kind)
