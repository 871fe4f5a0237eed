"""Identity: late results, epochs, joining, leaving, and clients that go and come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labkit.core.broker.worker_table import MAX_STALE_ROUTES
from labkit.core.errors import SettingsError
from labkit.core.protocol import messages as m
from labkit.support.settings import Settings
from tests.tools.scheduling import RULES, Lab, a_lab, an_id

# --- late results -------------------------------------------------------------------------------------------


def a_lab_whose_worker_was_taken_for_dead(second: bool = True) -> tuple[Lab, bytes]:
    """Return a lab in which w1 was silent for too long; its task is with w2, or waits."""
    lab = a_lab()
    task = lab.submit()
    lab.pass_time(RULES.dead_s + 0.2, "c1")
    if second:
        lab.worker("w2")
        lab.tick()
    lab.clear()
    return lab, task


def test_late_result_of_requeued_task_is_accepted_and_second_attempt_revoked() -> None:
    lab, task = a_lab_whose_worker_was_taken_for_dead()
    lab.done(task, "w1", 1, b"late")
    (result,) = lab.got("c1", m.Result)
    assert (result.attempt, result.worker, result.payload.body) == (1, "w1", b"late")
    assert lab.got("w2", m.Revoke) == [m.Revoke(task, 2)]


def test_late_result_of_a_queued_task_ends_its_wait() -> None:
    lab, task = a_lab_whose_worker_was_taken_for_dead(second=False)
    lab.done(task, "w1", 1)
    assert lab.outcomes() == [(task, "RESULT")]
    assert lab.status()["queued"] == 0


def test_second_result_is_counted_and_dropped() -> None:
    lab, task = a_lab_whose_worker_was_taken_for_dead()
    lab.done(task, "w2", 2)
    lab.done(task, "w1", 1)
    lab.done(task, "w2", 2)
    assert lab.outcomes() == [(task, "RESULT")]
    assert lab.count("duplicates") == 2
    assert [(event.attempt, event.worker) for event in lab.happened("duplicate")] == [(1, "w1"), (2, "w2")]


@pytest.mark.parametrize("attempt", [0, 2, 3])
def test_late_result_for_an_attempt_the_worker_never_had_is_dropped(attempt: int) -> None:
    lab, task = a_lab_whose_worker_was_taken_for_dead()
    lab.done(task, "w1", attempt)
    assert lab.outcomes() == []
    lab.done(task, "w2", 2)
    assert lab.outcomes() == [(task, "RESULT")]


def test_worker_of_another_epoch_cannot_answer_for_the_former_one() -> None:
    lab, task = a_lab_whose_worker_was_taken_for_dead(second=False)
    lab.worker("w2")
    lab.tick()
    lab.worker("w1", instance="w1")
    lab.done(task, "w1", 1)
    assert lab.outcomes() == []
    assert lab.count("duplicates") == 1


def test_worker_that_was_given_up_receives_stale() -> None:
    lab, _ = a_lab_whose_worker_was_taken_for_dead()
    lab.deliver("w1", m.Heartbeat())
    assert lab.got("w1", m.Stale) == [m.Stale()]


def test_peer_unknown_to_a_new_broker_receives_stale() -> None:
    lab = a_lab(workers=0)
    lab.done(an_id(1), "w7")
    lab.deliver("c7", m.Cancel(an_id(1)))
    assert lab.got("w7", m.Stale) == [m.Stale()]
    assert lab.got("c7", m.Stale) == [m.Stale()]


def test_goodbye_is_not_answered() -> None:
    lab = a_lab(workers=0)
    lab.deliver("w7", m.WorkerGoodbye())
    lab.deliver("c7", m.ClientGoodbye())
    assert lab.sent == []


def test_number_of_stale_connections_is_bounded() -> None:
    lab = a_lab(workers=0)
    for number in range(MAX_STALE_ROUTES + 3):
        lab.worker(f"w{number}")
    lab.pass_time(RULES.dead_s + 0.2, "c1")
    assert len(lab.happened("lost")) == MAX_STALE_ROUTES + 3
    assert len(lab.scheduler.workers.stale) == MAX_STALE_ROUTES


# --- joining ------------------------------------------------------------------------------------------------


def test_worker_that_rejoins_is_a_new_one_and_its_tasks_are_requeued() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.clear()
    lab.worker("w1")
    lab.tick()
    assert lab.causes("lost") == ["rejoined"]
    assert lab.tasks_of("w1") == [(task, 2)]
    assert len({event.detail["epoch"] for event in lab.happened("joined")}) == 2


def test_worker_may_rejoin_on_a_new_connection_before_the_old_one_closes() -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", name="worker-1")
    lab.worker("w2", name="worker-1")
    lab.close("w1")
    task = lab.submit()
    assert lab.tasks_of("w2") == [(task, 1)]
    assert lab.causes("lost") == ["rejoined"]


def test_second_worker_of_the_same_name_is_refused_and_first_unharmed() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.worker("w2", name="w1", instance="other")
    (refused,) = lab.got("w2", m.WorkerRefused)
    assert "another worker is called w1" in refused.reason
    assert lab.causes("refused") == [refused.reason]
    lab.done(task)
    assert lab.outcomes() == [(task, "RESULT")]


def test_same_hello_twice_is_welcomed_twice_and_costs_nothing() -> None:
    lab = a_lab(workers=0)
    hello = m.WorkerHello(b"instance", b"epoch-77", 1, 1, "w1", "")
    lab.deliver("w1", hello)
    task = lab.submit()
    lab.deliver("w1", hello)
    assert [welcome.worker_epoch for welcome in lab.got("w1", m.WorkerWelcome)] == [b"epoch-77"] * 2
    assert lab.happened("lost") == []
    lab.done(task)
    assert lab.outcomes() == [(task, "RESULT")]


@pytest.mark.parametrize(
    "hello",
    [{"slots": 0}, {"slots": 65}, {"name": "x" * 257}, {"needs": "x" * 1025}],
    ids=lambda hello: next(iter(hello)),
)
def test_impossible_worker_is_refused(hello: dict[str, Any]) -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", **hello)
    assert len(lab.got("w1", m.WorkerRefused)) == 1
    assert lab.count("refused_workers") == 1
    assert lab.status()["workers"] == []


NOT_NAMES = ["two\nlines", "\x1b[31mred", "x" * 65, "-first", "a b", "../up", "niño", "\u202eback", "a\x00"]


@pytest.mark.parametrize("name", NOT_NAMES)
def test_a_worker_id_is_what_worker_id_accepts(name: str) -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", name=name)
    (refused,) = lab.got("w1", m.WorkerRefused)
    assert "its id is not a name" in refused.reason and refused.reason.isprintable()
    assert lab.status()["workers"] == []
    (event,) = lab.happened("refused")
    assert event.worker.isprintable()
    with pytest.raises(SettingsError):
        Settings.from_environment({"WORKER_ID": name.replace("\0", "\x01")})


@pytest.mark.parametrize("needs", ["blur,\x1b[31m", "blur\nedges", "x" * 65])
def test_a_capability_is_one_short_visible_word(needs: str) -> None:
    lab = a_lab(workers=0)
    lab.worker("w1", needs=needs)
    assert len(lab.got("w1", m.WorkerRefused)) == 1


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "x" * 65, "\u202eback", "a\x00"])
def test_a_clients_name_is_one_short_visible_line(name: str) -> None:
    lab = a_lab()
    lab.deliver("c9", m.ClientHello(b"9" * 16, name))
    (refused,) = lab.got("c9", m.Refused)
    assert "visible line" in refused.reason
    assert lab.got("c9", m.ClientWelcome) == [] and lab.count("refused_clients") == 1


def test_a_clients_name_may_have_accents_and_spaces() -> None:
    lab = a_lab()
    lab.deliver("c9", m.ClientHello(b"9" * 16, "Ana Núñez"))
    assert len(lab.got("c9", m.ClientWelcome)) == 1


def test_number_of_workers_and_clients_is_bounded() -> None:
    lab = a_lab(workers=2, rules=replace(RULES, max_workers=2, max_clients=1))
    lab.worker("w3")
    lab.client("c2")
    assert len(lab.got("w3", m.WorkerRefused)) == 1
    assert [refused.reason for refused in lab.got("c2", m.Refused)] == ["too many clients"]


# --- leaving ------------------------------------------------------------------------------------------------


def test_draining_worker_gets_no_new_tasks_and_leaves_none_undone() -> None:
    lab = a_lab()
    first, second = lab.submit(1), lab.submit(2)
    lab.deliver("w1", m.Leaving())
    lab.deliver("w1", m.Returned(second, 1))
    lab.tick()
    assert lab.status_of("w1") == "draining"
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w2") == [(second, 2)]
    lab.done(first)
    lab.deliver("w1", m.WorkerGoodbye())
    assert lab.status_of("w1") == "left"
    assert lab.happened("lost") == []
    assert lab.outcomes() == [(first, "RESULT")]


def test_returned_task_is_the_next_one() -> None:
    lab = a_lab()
    for number in range(1, 4):
        lab.submit(number)
    lab.clear()
    lab.deliver("w1", m.Returned(an_id(2), 1))
    lab.tick()
    assert lab.tasks_of("w1") == [(an_id(2), 2)]
    assert lab.causes("requeued") == ["returned"]


def test_tasks_of_a_leaving_worker_are_requeued_without_blame() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.start(task)
    lab.deliver("w1", m.WorkerGoodbye())
    lab.worker("w2")
    lab.tick()
    assert [(message.task, message.attempt, message.careful) for message in lab.got("w2", m.Task)] == [
        (task, 2, 0)
    ]
    assert lab.causes("requeued") == ["left"]


# --- clients ------------------------------------------------------------------------------------------------


def test_client_that_reconnects_keeps_its_tasks_and_gets_their_results() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.close("c1")
    lab.pass_time(RULES.client_gone_s / 2, "w1")
    lab.client("c2", name="c1")
    lab.done(task)
    assert lab.outcomes("c2") == [(task, "RESULT")]
    assert lab.outcomes("c1") == []


@pytest.mark.parametrize("closed", [True, False])
def test_tasks_of_a_client_that_is_gone_are_cancelled(closed: bool) -> None:
    lab = a_lab(rules=replace(RULES, client_gone_s=5.0))
    for number in range(4):
        lab.submit(number)
    if closed:
        lab.close("c1")
    lab.pass_time(4.9, "w1")
    assert lab.happened("cancelled") == []
    lab.pass_time(0.4, "w1")
    assert lab.causes("cancelled") == ["client gone"] * 4
    assert len(lab.got("w1", m.Revoke)) == 2
    assert (lab.status()["queued"], lab.status()["open_bytes"]) == (0, 0)


def test_client_that_says_goodbye_is_gone_at_once() -> None:
    lab = a_lab(workers=0)
    lab.submit()
    lab.deliver("c1", m.ClientGoodbye())
    assert lab.causes("cancelled") == ["client gone"]


def test_result_for_a_disconnected_client_is_not_sent() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.close("c1")
    lab.done(task)
    assert lab.outcomes() == []
    assert len(lab.happened("done")) == 1


def test_returning_client_gets_its_lost_result_by_submitting_again() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.close("c1")
    lab.done(task)
    lab.client("c2", name="c1")
    lab.submit(1, "c2")
    lab.done(task)
    assert lab.outcomes("c2") == [(task, "RESULT")]
