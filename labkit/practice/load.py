"""One step of a stress test: tasks at a chosen rate, and what came of them.

``simulated_step`` asks a simulated cluster, ``real_step`` a client of a real one. Both submit ``TASKS`` tasks
and return the same numbers; a step that is offered more than the cluster can do ends when all is done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any, Final, NamedTuple

from labkit.client.client import Client
from labkit.core import history as h
from labkit.core.history import Event
from labkit.jobs import sleep_for
from labkit.simulation import simulate
from labkit.simulation.scenario import Place, Scenario, work

TASKS: Final = 60
BEGIN_S: Final = 0.3
"""Virtual seconds in which the workers join."""
PATIENCE_S: Final = 15.0


class Measured(NamedTuple):
    """What a step showed."""

    offered: float
    """Tasks per second that were submitted."""
    done: float
    """Results per second that came back."""
    p95_s: float
    """Seconds from submission to result: 95 of 100 tasks took at most this long."""


def measured(submitted: Mapping[str, float], ended: Mapping[str, float]) -> Measured:
    """Return the numbers of one step from the instants of its tasks' submissions and results."""
    took = sorted(at - submitted[task] for task, at in ended.items())
    return Measured(_per_s(submitted), _per_s(ended), took[int(0.95 * (len(took) - 1))])


def _per_s(instants: Mapping[str, float]) -> float:
    span = max(instants.values()) - min(instants.values())
    return (len(instants) - 1) / span if span > 0 else float("inf")


def of_history(events: Sequence[Event], tasks: Sequence[str]) -> Measured:
    """Return the numbers of one step from a history and the ids of the step's tasks, which are all done."""
    wanted = set(tasks)
    mine = [event for event in events if event.task in wanted]
    submitted = {event.task: event.at for event in mine if event.kind == h.SUBMITTED}
    return measured(submitted, {event.task: event.at for event in mine if event.kind == h.DONE})


def simulated_step(seed: int, slots: Sequence[int], task_s: float, rate: float) -> Measured:
    """Return what a simulated cluster makes of ``rate`` tasks per second; each computes ``task_s`` or so."""
    random = Random(f"{seed} load {rate}")
    works, at = [], BEGIN_S
    for number in range(TASKS):
        works.append(
            work(random.randbytes(12) + number.to_bytes(4, "big"), task_s * random.uniform(0.9, 1.1), at)
        )
        at += random.uniform(0.8, 1.2) / rate
    scenario = Scenario(works, [Place(count) for count in slots])
    run = simulate(seed, faults=(), safety_s=at, scenario=scenario).require_ok()
    return of_history(run.history, [one.task.hex() for one in works])


def _note(ended: dict[str, float], future: Future[Any]) -> None:
    ended.setdefault(future.task_id, time.monotonic())  # type: ignore[attr-defined]


def real_step(client: Client, task_s: float, rate: float) -> tuple[Measured, list[str]]:
    """Return what a real cluster makes of ``rate`` tasks per second, and the ids of the tasks."""
    submitted: dict[str, float] = {}
    ended: dict[str, float] = {}
    futures = []
    began = time.monotonic()
    for number in range(TASKS):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        at = time.monotonic()
        future = client.submit(sleep_for, task_s)
        submitted[future.task_id] = at
        future.add_done_callback(lambda done: _note(ended, done))
        futures.append(future)
    for future in futures:
        future.result(PATIENCE_S)
    for future in futures:  # the callback may still run on the client's own thread
        _note(ended, future)
    return measured(submitted, ended), list(submitted)
