"""In simulated runs, tasks and workers take exactly the steps that the tables of transitions allow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit.core import history as h
from labkit.core.broker import task_life, worker_table
from labkit.core.history import Event
from labkit.core.transitions import START
from labkit.simulation import mix, simulate

SEEDS, AT_LEAST = 60, 15

TASK_STATES = {
    h.SUBMITTED: "queued",
    h.DISPATCHED: "assigned",
    h.REQUEUED: "queued",
    h.DONE: "done",
    h.FAILED: "failed",
    h.CANCELLED: "cancelled",
}


ENDS = ("done", "failed", "cancelled")


def task_steps(events: list[Event]) -> Iterator[tuple[str, str]]:
    states: dict[str, str] = {}
    for event in events:
        if event.kind == h.BROKER_STARTED:
            states.clear()
        elif event.kind in TASK_STATES:
            before, after = states.get(event.task, START), TASK_STATES[event.kind]
            if event.kind == h.SUBMITTED and before in ENDS:
                before = START  # the client missed the outcome and submits the task again
            states[event.task] = after
            yield before, after


def worker_steps(events: list[Event]) -> Iterator[tuple[str, str]]:
    states: dict[str, str] = {}
    for event in events:
        before = states.get(event.worker, START)
        if event.kind == h.BROKER_STARTED:
            states.clear()
        elif event.kind in (h.JOINED, h.DRAINING):
            states[event.worker] = "ready" if event.kind == h.JOINED else "draining"
            yield before, states[event.worker]
        elif event.kind in (h.SUSPECT, h.ALIVE) and before != "draining":  # draining hides suspicion
            states[event.worker] = "suspect" if event.kind == h.SUSPECT else "ready"
            yield before, states[event.worker]
        elif event.kind in (h.LOST, h.LEFT):
            del states[event.worker]
            yield before, event.kind


@pytest.mark.no_cover
def test_simulated_tasks_and_workers_take_every_allowed_step_and_no_other() -> None:
    tasks: set[tuple[str, str]] = set()
    workers: set[tuple[str, str]] = set()
    allowed = set(task_life.TRANSITIONS), set(worker_table.TRANSITIONS)
    for seed in range(SEEDS):
        history = simulate(seed, faults=mix(seed)).history
        tasks.update(task_steps(history))
        workers.update(worker_steps(history))
        if (tasks, workers) == allowed and seed >= AT_LEAST:
            break  # more seeds could only show a step that is not allowed
    assert tasks == allowed[0]
    assert workers == allowed[1]
