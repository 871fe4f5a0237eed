"""One task's way through the broker, the choice of its worker, and the broker's views of itself."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.core.broker.inputs import FromWorker
from labkit.core.broker.policies import POLICIES
from labkit.core.broker.snapshot import LEFT_SHOWN_S, LOST_SHOWN_S
from labkit.core.protocol import messages as m
from tests.tools.scheduling import a_lab, an_id

# --- one task's way -----------------------------------------------------------------------------------------


def test_task_goes_to_a_worker_and_its_result_to_its_client() -> None:
    lab = a_lab()
    task = lab.submit()
    assert lab.tasks_of("w1") == [(task, 1)]
    lab.done(task, body=b"42")
    (result,) = lab.got("c1", m.Result)
    assert (result.task, result.attempt, result.worker, result.payload.body) == (task, 1, "w1", b"42")
    assert [event.kind for event in lab.events if event.task] == ["submitted", "dispatched", "done"]


def test_work_is_handed_out_only_in_a_tick() -> None:
    lab = a_lab()
    task = lab.submit(tick=False)
    assert lab.tasks_of("w1") == []
    lab.tick()
    assert lab.tasks_of("w1") == [(task, 1)]


def test_started_task_is_reported_to_its_client_once() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.start(task)
    lab.start(task)
    assert lab.got("c1", m.Running) == [m.Running(task, 1, "w1")]
    assert len(lab.happened("started")) == 1


def test_exception_is_one_failure_with_its_traceback_and_no_retry() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.error(task)
    (failed,) = lab.got("c1", m.Failed)
    assert (failed.code, failed.error, failed.payload.body) == ("ERROR", "ValueError: no", b"traceback")
    assert lab.tasks_of("w1") == [(task, 1)]
    assert lab.status()["queued"] == 0


def test_large_payload_is_announced_to_worker_and_client() -> None:
    lab = a_lab()
    large = m.Payload(bytes(m.BULK_BYTES + 1))
    task = lab.submit(payload=large)
    assert lab.got("w1", m.Bulk) == [m.Bulk(large.size)]
    lab.deliver("w1", m.Done(task, 1, 0.1, large))
    assert lab.got("c1", m.Bulk) == [m.Bulk(large.size)]


# --- who gets it --------------------------------------------------------------------------------------------


def test_least_busy_worker_gets_the_task() -> None:
    lab = a_lab(workers=3)
    for number in range(1, 4):
        lab.submit(number)
    assert [len(lab.tasks_of(f"w{number}")) for number in (1, 2, 3)] == [1, 1, 1]
    lab.done(an_id(2), "w2")
    assert lab.tasks_of("w2")[0] == (an_id(2), 1)
    lab.submit(4)
    assert lab.tasks_of("w2")[-1] == (an_id(4), 1)


def test_worker_gets_no_more_than_its_credit() -> None:
    lab = a_lab()
    for number in range(1, 6):
        lab.submit(number)
    assert len(lab.tasks_of("w1")) == 2  # its one slot, and one ahead
    lab.done(an_id(1))
    assert len(lab.tasks_of("w1")) == 3


def test_clients_take_turns() -> None:
    lab = a_lab()
    lab.client("c2")
    for number in range(1, 5):
        lab.submit(number, tick=False)
    lab.submit(9, "c2", tick=False)
    lab.tick()
    assert lab.tasks_of("w1") == [(an_id(1), 1), (an_id(9), 1)]


def test_task_goes_only_to_a_worker_that_can_do_it() -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", needs="blur")
    lab.worker("w2", needs="blur,edges")
    task = lab.submit(needs="edges")
    assert lab.tasks_of("w1") == []
    assert lab.tasks_of("w2") == [(task, 1)]


def test_task_that_no_worker_can_do_does_not_block_others() -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", needs="blur")
    lab.submit(1, needs="edges")
    task = lab.submit(2, needs="blur")
    assert lab.tasks_of("w1") == [(task, 1)]


def test_waiting_task_is_dispatched_when_a_capable_worker_joins() -> None:
    lab = a_lab()
    lab.close("w1")
    task = lab.submit()
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w2") == [(task, 1)]


@pytest.mark.parametrize("policy", POLICIES)
def test_under_every_policy_all_tasks_are_done(policy: str) -> None:
    lab = a_lab(workers=3, choose=policy)
    for number in range(20):
        lab.submit(number)
    for _ in range(20):
        for route in ("w1", "w2", "w3"):
            sent = lab.tasks_of(route)
            lab.sent = [(to, message) for to, message in lab.sent if (to, type(message)) != (route, m.Task)]
            for task, attempt in sent:
                lab.done(task, route, attempt)
    assert sorted(lab.outcomes()) == [(an_id(number), "RESULT") for number in range(20)]


def _raises(task: Any, workers: Any, now: float) -> Any:
    raise RuntimeError("not finished yet")


def _chooses_a_stranger(task: Any, workers: Any, now: float) -> Any:
    return "worker-1"


def _exits(task: Any, workers: Any, now: float) -> Any:
    raise SystemExit(1)


class _Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit(2)

    __repr__ = __str__


def _raises_what_cannot_be_read(task: Any, workers: Any, now: float) -> Any:
    raise _Unreadable


def _chooses_what_cannot_be_read(task: Any, workers: Any, now: float) -> Any:
    return _Unreadable()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (_raises, "not finished yet"),
        (_chooses_a_stranger, "not offered"),
        (_exits, "SystemExit: 1"),
        (_raises_what_cannot_be_read, "_Unreadable: its text cannot be read"),
        (_chooses_what_cannot_be_read, "it chose <_Unreadable>"),
    ],
)
def test_broken_policy_is_reported_and_replaced_by_least_busy(policy: Any, said: str) -> None:
    lab = a_lab(choose=policy)
    task = lab.submit()
    assert lab.tasks_of("w1") == [(task, 1)]
    (report,) = lab.happened("policy_error")
    assert said in report.detail["error"]
    assert lab.count("policy_errors") == 1


def _takes_it_out(task: Any, workers: Any, now: float) -> Any:
    return workers.pop(0)


def _sorts_and_drops(task: Any, workers: Any, now: float) -> Any:
    workers.sort(key=lambda worker: worker.in_flight)
    first = workers[0]
    workers.clear()
    return first


def _takes_them_all(task: Any, workers: Any, now: float) -> Any:
    workers.clear()
    return None


@pytest.mark.parametrize(
    ("policy", "sent"), [(_takes_it_out, 1), (_sorts_and_drops, 1), (_takes_them_all, 0)]
)
def test_a_policy_may_change_the_list_that_it_gets(policy: Any, sent: int) -> None:
    lab = a_lab(choose=policy)
    lab.submit()
    assert len(lab.tasks_of("w1")) == sent
    assert lab.count("policy_errors") == 0


def test_policy_that_always_fails_is_reported_a_bounded_number_of_times() -> None:
    lab = a_lab(choose=_raises)
    for number in range(100):
        lab.submit(number)
        lab.done(an_id(number))
    assert len(lab.happened("policy_error")) == 20
    assert lab.count("policy_errors") == 100


def test_policy_may_leave_a_task_waiting_until_something_changes() -> None:
    lab = a_lab(choose=lambda task, workers, now: workers[1] if len(workers) > 1 else None)
    task = lab.submit()
    assert lab.tasks_of("w1") == []
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w2") == [(task, 1)]


# --- notes, status, snapshot --------------------------------------------------------------------------------


def test_note_is_in_the_history_when_it_is_answered() -> None:
    lab = a_lab()
    lab.deliver("c1", m.Note(5, "kill", "worker-1"))
    assert lab.got("c1", m.Noted) == [m.Noted(5)]
    (fault,) = lab.happened("fault")
    assert fault.detail == {"fault": "kill", "target": "worker-1"}


def test_status_lists_workers_queue_and_counters() -> None:
    lab = a_lab()
    for number in range(4):
        lab.submit(number)
    status = lab.status()
    (row,) = status["workers"]
    assert (row["id"], row["status"], row["in_flight"]) == ("w1", "busy", 2)
    assert (status["queued"], status["assigned"], status["open_bytes"]) == (2, 2, 16)


def test_snapshot_shows_the_queue_and_the_departed_too() -> None:
    lab = a_lab(workers=2)
    lab.close("w2")
    lab.deliver("w1", m.WorkerGoodbye())
    tasks = [lab.submit(number) for number in (1, 2)]
    snapshot = lab.scheduler.snapshot(lab.now)
    assert {row["id"]: row["status"] for row in snapshot.workers} == {"w1": "left", "w2": "lost"}
    assert snapshot.pending == tuple(task.hex() for task in tasks)


def test_worker_that_left_is_shown_for_a_minute_and_a_lost_one_longer() -> None:
    lab = a_lab(workers=4)
    lab.close("w2")
    lab.deliver("w1", m.WorkerGoodbye())

    def gone() -> dict[str, str]:
        rows = lab.scheduler.snapshot(lab.now).workers
        return {row["id"]: row["status"] for row in rows if row["status"] in ("left", "lost")}

    lab.now += LEFT_SHOWN_S - 0.1
    assert gone() == {"w1": "left", "w2": "lost"}
    lab.deliver("w3", m.WorkerGoodbye())
    lab.now += 0.2
    assert gone() == {"w2": "lost", "w3": "left"}
    assert {row["id"] for row in lab.status()["workers"]} == {"w2", "w3", "w4"}
    lab.now += LOST_SHOWN_S - LEFT_SHOWN_S
    assert gone() == {}


def test_snapshot_names_the_job_of_each_waiting_task_and_since_when_it_waits() -> None:
    lab = a_lab(workers=0)
    first = lab.submit(1, job="work:blur")
    lab.now += 2.0
    second = lab.submit(2, job="work:edges")
    labels = lab.scheduler.snapshot(lab.now).labels
    assert labels == ((first.hex(), "work:blur", lab.now - 2.0), (second.hex(), "work:edges", lab.now))


def test_snapshot_counts_the_completed_tasks_of_each_worker() -> None:
    lab = a_lab()
    for number in range(3):
        lab.done(lab.submit(number))
    (row,) = lab.scheduler.snapshot(lab.now).workers
    assert (row["tasks_completed"], row["status"], row["last_heartbeat_age_s"]) == (3, "ready", 0.0)


# --- messages that no peer should send ----------------------------------------------------------------------


@pytest.mark.parametrize("route", ["c1", "w1"])
def test_message_of_the_wrong_kind_changes_only_a_counter(route: str) -> None:
    lab = a_lab()
    task = lab.submit()
    before = len(lab.events)
    lab.deliver(route, m.Go(task, 1))
    assert lab.count("unexpected_messages") == 1
    assert len(lab.events) == before


@pytest.mark.parametrize(
    "message",
    [m.Started(an_id(1), 9, 0), m.Started(an_id(8), 1, 1), m.Returned(an_id(1), 9),
     m.WorkerError(an_id(1), 9, 0.0, "ERROR", "", m.EMPTY),
     m.Done(an_id(8), 1, 0.0, m.EMPTY), m.Done(an_id(1), 9, 0.0, m.EMPTY)],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
def test_worker_reporting_other_attempts_changes_no_task(message: Any) -> None:
    lab = a_lab()
    task = lab.submit()
    lab.deliver("w1", message)
    assert lab.outcomes() == []
    assert lab.got("w1", m.Go) == []
    lab.done(task)
    assert lab.outcomes() == [(task, "RESULT")]


def test_envelope_has_the_effect_of_its_messages_one_by_one() -> None:
    lab = a_lab()
    task = lab.submit()
    sent = lab.scheduler.handle_envelope(
        FromWorker, "w1", [m.Heartbeat(), m.Started(task, 1, 1), m.Done(task, 1, 0.0, m.EMPTY)], lab.now
    )
    assert [type(action.message) for action in sent] == [m.Running, m.Go, m.Result]
