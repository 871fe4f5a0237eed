"""The mirror's pure half: the commands for a new list, a worker's field, when a snapshot is due."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.broker.snapshot import Snapshot, WorkerRow
from labkit.mirror.writer import LATEST_S, SOON_S, Change, Mirror, Pending, plan, worker_fields

IDS = st.text("abcdef", min_size=1, max_size=2)
ANY_LIST = st.lists(IDS, max_size=12).map(tuple)  # may repeat ids, which a queue never does
QUEUE = st.lists(IDS, max_size=12, unique=True).map(tuple)


def applied(change: Change, old: tuple[str, ...]) -> tuple[str, ...]:
    return old[change.drop :] + change.append


@given(old=ANY_LIST, new=ANY_LIST)
def test_the_plan_turns_any_old_list_into_the_new_one(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    assert applied(plan(old, new), old) == new


@given(queue=QUEUE, data=st.data())
def test_a_queue_that_moved_on_sends_only_the_new_ids(queue: tuple[str, ...], data: st.DataObject) -> None:
    seen = data.draw(st.integers(0, len(queue)), "ids that the old list already had")
    taken = data.draw(st.integers(0, seen), "ids dispatched since")
    change = plan(queue[:seen], queue[taken:])
    assert applied(change, queue[:seen]) == queue[taken:]
    assert change.append == queue[seen:] or taken == seen  # nothing in common: all is new anyway


def test_an_unchanged_queue_needs_nothing() -> None:
    assert plan(("a", "b"), ("a", "b")) == Change(0, ())


def test_a_requeued_task_at_the_front_is_a_full_rewrite() -> None:
    assert plan(("b", "c"), ("a", "b", "c")) == Change(2, ("a", "b", "c"))


def test_an_emptied_queue_drops_all() -> None:
    assert plan(("a", "b"), ()) == Change(2, ())


ROW: WorkerRow = {
    "id": "worker-1",
    "capabilities": ["blur", "resize"],
    "last_heartbeat_age_s": 0.25,
    "status": "busy",
    "tasks_completed": 7,
    "in_flight": 2,
    "slots": 1,
    "epoch": "00ff",
    "pid": 77,
}


def test_a_heartbeat_is_shown_as_its_time_of_day() -> None:
    fields = worker_fields(Snapshot(workers=(ROW,)), wall=1_700_000_000.0)
    shown = json.loads(fields["worker-1"])
    assert shown.pop("last_heartbeat") == 1_699_999_999.75
    row: dict[str, object] = {**ROW, "status": "active", "state": "busy"}
    del row["last_heartbeat_age_s"], row["pid"]
    assert shown == row


def test_without_redis_a_snapshot_is_due_at_once_then_once_a_period() -> None:
    mirror = Mirror("redis://127.0.0.1:1/0")  # never started, so it never gets well
    assert mirror.wants(100.0)
    assert not mirror.wants(100.0 + SOON_S)
    assert not mirror.wants(100.0 + LATEST_S * 0.99, changed=False)
    assert mirror.wants(100.0 + LATEST_S, changed=False)
    assert mirror.due_at(changed=False) == 100.0 + 2 * LATEST_S


def test_a_closed_mirror_wants_nothing() -> None:
    mirror = Mirror("redis://127.0.0.1:1/0")
    mirror.close()
    assert not mirror.wants(100.0)
    assert mirror.health.state == "closed"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ready", "active"),
        ("busy", "active"),
        ("suspect", "active"),
        ("draining", "active"),
        ("lost", "inactive"),
        ("left", "inactive"),
    ],
)
def test_status_is_the_courses_word_and_the_state_is_finer(state: str, status: str) -> None:
    row = cast(WorkerRow, {**ROW, "status": state})
    shown = json.loads(worker_fields(Snapshot(workers=(row,)), wall=0.0)["worker-1"])
    assert (shown["status"], shown["state"]) == (status, state)


def test_a_waiting_task_reads_as_id_job_and_since_when() -> None:
    labels = (("ab" * 16, 'work:"blur"', 5.0), ("cd" * 16, "work:edges", 65.25))
    pending = Pending(Snapshot(pending=tuple(label[0] for label in labels), labels=labels), 1_700_000_000.0)
    assert [json.loads(pending.text(number)) for number in (0, 1)] == [
        {"id": "ab" * 16, "job": 'work:"blur"', "since": "2023-11-14T22:13:25Z"},
        {"id": "cd" * 16, "job": "work:edges", "since": "2023-11-14T22:14:25Z"},
    ]
    assert Pending(Snapshot(pending=("ab",))).text(0) == "ab"
