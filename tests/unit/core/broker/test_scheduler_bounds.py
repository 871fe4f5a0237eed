"""The bounds of a task: acknowledgement, quota and BUSY, deadline, cancelling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit.core.broker.admission import MAX_LANES, MAX_NEEDS
from labkit.core.protocol import messages as m
from tests.tools.scheduling import RULES, a_lab, an_id

# --- acknowledgements and resubmission ----------------------------------------------------------------------


def test_acknowledgements_wait_a_moment_for_company() -> None:
    lab = a_lab(workers=0)
    tasks = [lab.submit(number) for number in (1, 2, 3)]
    assert lab.got("c1", m.Accepted) == []
    lab.pass_time(RULES.ack_delay_s)
    assert lab.got("c1", m.Accepted) == [m.Accepted(b"".join(tasks))]


def test_delayed_acknowledgement_sets_the_next_deadline() -> None:
    lab = a_lab(workers=0)
    lab.submit()
    due = lab.scheduler.next_deadline()
    assert due is not None
    assert due <= lab.now + RULES.ack_delay_s


def test_task_done_before_its_acknowledgement_needs_none() -> None:
    lab = a_lab()
    lab.done(lab.submit())
    lab.pass_time(RULES.ack_delay_s)
    assert lab.got("c1", m.Accepted) == []


def test_submitting_again_under_the_same_id_is_only_acknowledged() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.pass_time(RULES.ack_delay_s)
    lab.clear()
    lab.submit()
    lab.pass_time(RULES.ack_delay_s)
    assert lab.got("c1", m.Accepted) == [m.Accepted(task)]
    assert lab.tasks_of("w1") == []
    assert len(lab.happened("submitted")) == 1


def test_another_clients_task_id_is_refused() -> None:
    lab = a_lab()
    lab.client("c2")
    task = lab.submit()
    lab.submit(1, "c2")
    (refused,) = lab.got("c2", m.Refused)
    assert refused.tasks == task
    lab.done(task)
    assert lab.outcomes("c1") == [(task, "RESULT")]
    assert lab.outcomes("c2") == []


# --- full ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        ({"max_queued_tasks": 2}, 2), ({"max_client_tasks": 2}, 2),
        ({"max_queued_bytes": 25}, 2), ({"max_client_bytes": 25}, 2),
    ],
)  # fmt: skip
def test_tasks_beyond_a_bound_are_refused_as_busy(limit: dict[str, int], fits: int) -> None:
    rules = replace(RULES, **limit)
    lab = a_lab(workers=0, rules=rules)
    for number in range(fits + 1):
        lab.submit(number, payload=m.Payload(bytes(10)))
    (busy,) = lab.got("c1", m.Refused)
    assert busy.tasks == an_id(fits)
    assert busy.retry_after_s == pytest.approx(rules.busy_retry_s)
    assert lab.status()["queued"] == fits


def test_one_clients_quota_does_not_touch_another_client() -> None:
    lab = a_lab(workers=0, rules=replace(RULES, max_client_tasks=1))
    lab.client("c2")
    lab.submit(1)
    lab.submit(2)
    lab.submit(3, "c2")
    assert len(lab.got("c1", m.Refused)) == 1
    assert lab.got("c2", m.Refused) == []


def test_outcome_makes_room_again() -> None:
    lab = a_lab(rules=replace(RULES, max_client_tasks=1, max_client_bytes=4))
    lab.done(lab.submit(1))
    lab.submit(2)
    assert lab.got("c1", m.Refused) == []


def test_flood_of_refusals_is_one_event_a_turn() -> None:
    lab = a_lab(workers=0, rules=replace(RULES, max_client_tasks=1))
    for number in range(50):
        lab.submit(number, tick=False)
    assert len(lab.got("c1", m.Refused)) == 49
    assert len(lab.happened("rejected")) == 1
    assert lab.count("refused_tasks") == 49


def test_number_of_lanes_is_bounded() -> None:
    lab = a_lab(workers=0)
    for number in range(MAX_LANES + 1):
        lab.submit(number, needs=f"need-{number}", tick=False)
    assert len(lab.got("c1", m.Refused)) == 1


def test_task_with_too_many_needs_fails_as_no_worker() -> None:
    lab = a_lab()
    task = lab.submit(needs="x" * (MAX_NEEDS + 1))
    assert lab.outcomes() == [(task, "NO_WORKER")]


# --- deadlines ----------------------------------------------------------------------------------------------


def test_task_that_no_worker_can_do_fails_at_its_deadline() -> None:
    lab = a_lab(workers=0)
    task = lab.submit(budget_s=5.0, needs="edges")
    lab.pass_time(4.9, "c1")
    assert lab.outcomes() == []
    lab.pass_time(0.2, "c1")
    assert lab.outcomes() == [(task, "NO_WORKER")]
    assert "edges" in lab.got("c1", m.Failed)[0].error


def test_queued_task_with_a_capable_worker_fails_as_deadline() -> None:
    lab = a_lab()
    for number in (1, 2):
        lab.submit(number)
    task = lab.submit(3, budget_s=5.0)
    lab.pass_time(5.2, "c1", "w1")
    assert lab.outcomes() == [(task, "DEADLINE")]


def test_task_that_runs_past_its_deadline_is_revoked_and_fails() -> None:
    lab = a_lab()
    task = lab.submit(budget_s=5.0)
    lab.start(task)
    lab.pass_time(5.2, "c1", "w1")
    assert lab.outcomes() == [(task, "DEADLINE")]
    assert lab.got("w1", m.Revoke) == [m.Revoke(task, 1)]
    lab.done(task)
    assert lab.outcomes() == [(task, "DEADLINE")]
    assert len(lab.happened("duplicate")) == 1


@pytest.mark.parametrize("budget_s", [0.0, -1.0, 1e12, float("nan"), float("inf")])
def test_nonsensical_budget_is_the_brokers_own(budget_s: float) -> None:
    lab = a_lab(workers=0, rules=replace(RULES, task_deadline_s=3.0))
    task = lab.submit(budget_s=budget_s)
    lab.pass_time(3.2, "c1")
    assert lab.outcomes() == [(task, "NO_WORKER")]


# --- cancelling ---------------------------------------------------------------------------------------------


def test_queued_task_is_cancelled() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    lab.deliver("c1", m.Cancel(task))
    assert lab.got("c1", m.CancelReply) == [m.CancelReply(task, 1)]
    lab.worker()
    lab.tick()
    assert lab.tasks_of("w1") == []
    assert lab.causes("cancelled") == ["asked"]


def test_assigned_task_is_cancelled_and_revoked() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.deliver("c1", m.Cancel(task))
    assert lab.got("c1", m.CancelReply) == [m.CancelReply(task, 1)]
    assert lab.got("w1", m.Revoke) == [m.Revoke(task, 1)]
    lab.done(task)
    assert lab.outcomes() == []


def test_started_task_is_not_cancelled() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.start(task)
    lab.deliver("c1", m.Cancel(task))
    assert lab.got("c1", m.CancelReply) == [m.CancelReply(task, 0)]
    lab.done(task)
    assert lab.outcomes() == [(task, "RESULT")]


def test_unknown_task_and_another_clients_are_not_cancelled() -> None:
    lab = a_lab(workers=0)
    lab.client("c2")
    task = lab.submit()
    for number, route in ((9, "c1"), (1, "c2")):
        lab.deliver(route, m.Cancel(an_id(number)))
        assert lab.got(route, m.CancelReply)[-1].done == 0
    lab.worker()
    lab.tick()
    assert lab.tasks_of("w1") == [(task, 1)]


def test_revoked_attempt_keeps_its_place_until_the_worker_answers() -> None:
    lab = a_lab()
    first, second = lab.submit(1), lab.submit(2)
    lab.deliver("c1", m.Cancel(first))
    lab.submit(3)
    assert (an_id(3), 1) not in lab.tasks_of("w1")
    lab.deliver("w1", m.Returned(first, 1))
    lab.tick()
    assert lab.tasks_of("w1") == [(first, 1), (second, 1), (an_id(3), 1)]
