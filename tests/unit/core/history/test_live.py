"""The live view: the same answers as the full history after every event, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from labkit.core import history as h
from labkit.core.history import Event, LiveView
from labkit.core.history.index import Index
from labkit.core.history.live import MOST_MARKS, UNKNOWN
from labkit.simulation import FAULTS, simulate
from tests.tools.made_histories import CLOCK, demo, frozen, task_id


def view_of(events: Sequence[Event]) -> LiveView:
    view = LiveView()
    view.extend(events)
    return view


def assert_same_answers(view: LiveView, index: Index) -> None:
    """Compare every answer about workers and what they run with the records of the full history."""
    running: dict[str, str] = {}
    for name, record in index.workers.items():
        worker = view.workers[name]
        assert list(worker.held) == list(record.held), name
        started = {task for task, attempt in record.held.items() if attempt.started_at is not None}
        assert set(worker.started) == started, name
        running |= dict.fromkeys(started, name)
        if record.states:
            assert (worker.state, worker.since) == (record.states[-1][1], _since(record.states)), name
    assert view.running() == running
    assert {name: worker.done for name, worker in view.workers.items() if worker.done} == Counter(
        name for _at, name in index.done
    )
    losses = Counter(loss.worker for loss in index.losses)
    assert {name: worker.losses for name, worker in view.workers.items() if worker.losses} == losses


def _since(states: list[tuple[float, str]]) -> float:
    """Return since when the last state lasts; one that is recorded twice in a row began the first time."""
    last = len(states) - 1
    while last and states[last - 1][1] == states[last][1]:
        last -= 1
    return states[last][0]


@pytest.mark.parametrize("seed", range(3))
def test_simulated_run_gives_the_historys_answers_after_every_event(seed: int) -> None:
    view, index = LiveView(), Index()
    for event in simulate(seed, tasks=120, faults=tuple(FAULTS)).history:
        view.add(event)
        index.add([event])
        assert_same_answers(view, index)
    open_tasks = {task for task, record in index.tasks.items() if record.seen_at and not record.outcome}
    assert set(view.open) <= open_tasks
    assert view.counts == index.counts


@pytest.mark.parametrize("events", [demo(), frozen()], ids=["kill", "freeze"])
def test_made_run_gives_the_historys_answers_after_every_event(events: list[Event]) -> None:
    view, index = LiveView(), Index()
    for event in events:
        view.add(event)
        index.add([event])
        assert_same_answers(view, index)


def test_running_lists_started_attempts_the_latest_start_last() -> None:
    events = [
        Event(CLOCK, h.DISPATCHED, task_id(1), 1, "worker-1"),
        Event(CLOCK, h.DISPATCHED, task_id(2), 1, "worker-2"),
        Event(CLOCK, h.DISPATCHED, task_id(3), 1, "worker-2"),
        Event(CLOCK + 1, h.STARTED, task_id(2), 1, "worker-2"),
        Event(CLOCK + 2, h.STARTED, task_id(1), 1, "worker-1"),
    ]
    view = view_of(events)
    assert list(view.running().items()) == [(task_id(2), "worker-2"), (task_id(1), "worker-1")]
    view.add(Event(CLOCK + 3, h.REQUEUED, task_id(2), 1, "worker-2"))
    view.add(Event(CLOCK + 3, h.DONE, task_id(1), 1, "worker-1"))
    assert view.running() == {}
    assert list(view.workers["worker-2"].held) == [task_id(3)] and list(view.open) == [task_id(2), task_id(3)]


def test_started_task_runs_until_it_ends_though_its_dispatch_is_missing() -> None:
    events = [
        Event(1, h.STARTED, "a", 1, "worker-1"),
        Event(2, h.STARTED, "b", 1, "worker-2"),
        Event(3, h.STARTED, "c", 1, "worker-3"),
        Event(4, h.DONE, "a", 1, "worker-1"),
        Event(5, h.REQUEUED, "b", 1, "worker-2"),
    ]
    assert view_of(events).running() == {"c": "worker-3"}
    assert view_of([*events, Event(6, h.BROKER_STARTED)]).running() == {}


def test_worker_with_two_slots_still_computes_when_one_task_ends() -> None:
    view = LiveView()
    for task in (task_id(1), task_id(2)):
        view.add(Event(CLOCK, h.DISPATCHED, task, 1, "worker-1"))
        view.add(Event(CLOCK, h.STARTED, task, 1, "worker-1"))
    assert view.workers["worker-1"].computing == task_id(2)
    view.add(Event(CLOCK + 1, h.DONE, task_id(2), 1, "worker-1"))
    assert view.workers["worker-1"].computing == task_id(1)


def test_requeue_of_a_former_attempt_leaves_the_present_one() -> None:
    view = view_of(
        [
            Event(CLOCK, h.DISPATCHED, task_id(1), 2, "worker-2"),
            Event(CLOCK, h.STARTED, task_id(1), 2, "worker-2"),
            Event(CLOCK, h.REQUEUED, task_id(1), 1, "worker-1"),
        ]
    )
    assert view.running() == {task_id(1): "worker-2"}


def test_new_broker_forgets_open_tasks_and_knows_no_worker() -> None:
    view = LiveView()
    view.extend([event for event in demo() if event.at < CLOCK + 0.6])
    assert view.open and view.running()
    view.add(Event(CLOCK + 9, h.BROKER_STARTED))
    assert not view.open and not view.running()
    assert {worker.state for worker in view.workers.values()} == {UNKNOWN}
    assert not any(worker.held or worker.started for worker in view.workers.values())


def test_only_the_events_of_the_chosen_tasks_count() -> None:
    ours = {task_id(n) for n in range(10)}
    view = LiveView(of=ours)
    view.extend(demo())
    assert view.ended == ours and view.counts[h.DONE] == 10 and not view.open
    assert [event.detail["fault"] for event in view.faults] == ["kill", "start"]
    assert view.workers["worker-2"].state == "ready"


def test_fault_marks_a_worker_until_it_joins_again() -> None:
    view = LiveView()
    marks = []
    for event in demo():
        view.add(event)
        if "worker-2" in view.workers and view.workers["worker-2"].fault not in marks:
            marks.append(view.workers["worker-2"].fault)
    assert marks == ["", "kill", "start"] and view.workers["worker-2"].fault == ""


def test_outage_lasts_from_the_loss_until_the_worker_joins_again() -> None:
    view = LiveView()
    seen: list[tuple[str, bool]] = []
    for event in demo():
        view.add(event)
        for outage in view.outages():
            if (outage.worker, outage.end is None) not in seen:
                seen.append((outage.worker, outage.end is None))
    assert seen == [("worker-2", True), ("worker-2", False)]
    (outage,) = view.outages()
    assert view.since_began(outage.begin) == pytest.approx(1.52, abs=0.001)
    assert outage.end is not None and view.since_began(outage.end) == pytest.approx(2.4, abs=0.001)


def test_results_are_counted_by_span_and_worker() -> None:
    view = LiveView(span_s=0.5)
    view.add(Event(CLOCK, h.BROKER_STARTED))
    for after, worker in ((0.1, "worker-1"), (0.2, "worker-2"), (0.9, "worker-1"), (1.0, "worker-1")):
        view.add(Event(CLOCK + after, h.DONE, task_id(int(after * 10)), 1, worker))
    results = view.results
    assert [results.by_worker(n) for n in range(3)] == [
        {"worker-1": 1, "worker-2": 1},
        {"worker-1": 1},
        {"worker-1": 1},
    ]
    assert results.columns(0, 4) == [2, 1, 1, 0]
    assert results.columns(0, 2, width=2) == [3, 1]
    assert results.columns(0, 3, worker="worker-1") == [1, 1, 1]


def test_memory_stays_bounded_however_long_the_cluster_lives() -> None:
    view = LiveView(keep_s=10.0)
    for n in range(5000):
        at = CLOCK + n / 10
        view.add(Event(at, h.FAULT, detail={"fault": "kill", "target": "worker-1"}))
        view.add(Event(at, h.LOST, worker="worker-1"))
        view.add(Event(at, h.JOINED, worker="worker-1"))
        view.add(Event(at, h.REFUSED, worker=f"stranger-{n}"))
        for kind in (h.SUBMITTED, h.DISPATCHED, h.STARTED, h.DONE):
            view.add(Event(at, kind, task_id(n), 1, "worker-1"))
    assert len(view.faults) == len(view.outages()) == MOST_MARKS
    assert list(view.workers) == ["worker-1"] and not view.open and not view.ended
    assert view.workers["worker-1"].done == 5000 and view.counts[h.DONE] == 5000
    assert len(view.results._spans) <= 12
    view.results.forget(10_000.0)
    assert not view.results


def test_every_kind_of_event_is_accepted_with_and_without_details() -> None:
    view = LiveView()
    for kind in (*sorted(h.KINDS), "of a newer labkit"):
        view.add(Event(1.0, kind))
        view.add(Event(1.0, kind, task_id(1), 1, "worker-1", {"fault": 1, "target": None}))
    assert view.counts.total() == 2 * (len(h.KINDS) + 1)
