"""An excerpt of a recording is a whole recording of the tasks it is about."""

from __future__ import annotations

import pytest

from labkit.core import history as h
from labkit.core.history import Event, History, excerpt
from labkit.simulation import FAULTS, simulate
from tests.tools.made_histories import task_id

ONE, OTHER = task_id(1), task_id(2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("part", [slice(0, 1), slice(30, 40), slice(-10, None)])
def test_excerpt_of_a_simulated_run_breaks_no_promise(seed: int, part: slice) -> None:
    events = simulate(seed, tasks=90, faults=tuple(FAULTS)).history
    submitted = dict.fromkeys(event.task for event in events if event.kind == h.SUBMITTED)
    tasks = set(list(submitted)[part])
    history = History(excerpt(events, tasks))
    assert history.check() == []
    assert {event.task for event in history.events if event.task} == tasks
    whole = [event for event in events if event.task in tasks]
    assert whole
    while whole[0].kind != h.SUBMITTED:  # refused for want of room, or cancelled at once
        whole.pop(0)
    assert [event for event in history.events if event.task] == whole


def test_worker_that_joined_just_before_the_first_submission_is_in_the_excerpt() -> None:
    events = [
        Event(1.0, h.BROKER_STARTED),
        Event(1.5, h.SUBMITTED, OTHER),
        Event(2.0, h.JOINED, worker="worker-2", detail={"slots": 2}),
        Event(2.1, h.SUBMITTED, ONE),
        Event(2.1, h.DISPATCHED, ONE, 1, "worker-2"),
        Event(2.2, h.DISPATCHED, OTHER, 1, "worker-2"),
    ]
    joined = Event(2.1, h.JOINED, worker="worker-2", detail={"slots": 2})
    assert excerpt(events, {ONE}) == [joined, *events[3:5]]
    assert excerpt(events, {task_id(3)}) == []


def test_state_of_a_worker_at_the_start_is_kept_and_one_that_is_gone_is_left_out() -> None:
    events = [
        *(Event(1.0, h.JOINED, worker=name) for name in ("a", "b", "c", "d")),
        Event(1.1, h.SUSPECT, worker="b"),
        Event(1.2, h.LOST, worker="c", detail={"cause": "silent"}),
        Event(1.3, h.LEFT, worker="d"),
        Event(1.4, h.SUBMITTED, ONE),
    ]
    assert [(event.kind, event.worker) for event in excerpt(events, {ONE})] == [
        ("joined", "a"),
        ("joined", "b"),
        ("suspect", "b"),
        ("submitted", ""),
    ]


def test_worker_that_a_new_broker_has_not_met_is_left_out_until_it_joins() -> None:
    events = [
        Event(1.0, h.JOINED, worker="a"),
        Event(2.0, h.BROKER_STARTED),
        Event(2.1, h.SUBMITTED, ONE),
        Event(2.2, h.JOINED, worker="a"),
        Event(2.3, h.DISPATCHED, ONE, 1, "a"),
        Event(2.4, h.DONE, ONE, 1, "a", {"compute_s": 0.1, "bytes": 1}),
    ]
    assert excerpt(events, {ONE}) == events[2:]
    assert History(excerpt(events, {ONE})).check() == []


def test_fault_before_the_start_that_is_noted_late_is_left_out() -> None:
    note = Event(0.9, h.FAULT, detail={"fault": "kill", "target": "a"})
    events = [Event(1.0, h.SUBMITTED, ONE), note, note._replace(at=1.1)]
    assert excerpt(events, {ONE}) == [events[0], events[2]]
