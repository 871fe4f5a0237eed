"""The client's session: joining, (re)submitting, quota and BUSY, outcomes, cancelling."""

from __future__ import annotations

import pytest

from labkit.core.peers import client_events as e
from labkit.core.peers.session import Connect, Send
from labkit.core.protocol import messages as m
from tests.tools.sessions import RULES, A, AClient, B, C, a_client

# --- joining ------------------------------------------------------------------------------------------------


def test_session_connects_and_says_hello() -> None:
    client = AClient()
    assert client.out == [Connect(), Send(m.ClientHello(b"c" * 16, "ann"))]
    client.is_welcomed()
    assert client.actions(e.Welcomed) == [e.Welcomed(new_broker=False)]


@pytest.mark.parametrize("refused", [False, True])
def test_without_a_welcome_it_says_hello_again_on_a_new_connection(refused: bool) -> None:
    client = AClient()
    client.out.clear()
    if refused:
        client.hears(m.Refused(0.1, "too many clients", b""))
    client.pass_time(RULES.dead_s + 0.01, broker_beats=False)
    assert client.out == [Connect(), Send(m.ClientHello(b"c" * 16, "ann"))]
    client.is_welcomed()
    client.submits(A)
    assert client.submitted() == [A]


def test_stale_client_says_hello_again_on_the_same_connection_once() -> None:
    client = a_client()
    client.hears(m.Stale(), m.Stale())
    assert client.out == [Send(m.ClientHello(b"c" * 16, "ann"))]


def test_silent_broker_is_given_up_after_its_patience() -> None:
    client = a_client()
    client.pass_time(5.9, broker_beats=False)
    assert client.actions(Connect) == []
    client.pass_time(0.2, broker_beats=False)
    assert len(client.actions(Connect)) == 1


def test_announced_bulk_extends_the_patience() -> None:
    client = a_client()
    client.hears(m.Bulk(int(10 * RULES.slow_link_bytes_per_s)))
    client.pass_time(15.9, broker_beats=False)
    assert client.actions(Connect) == []
    client.pass_time(0.2, broker_beats=False)
    assert len(client.actions(Connect)) == 1


def test_own_freeze_is_not_the_brokers_silence() -> None:
    client = a_client()
    client.oversleep(60.0)
    assert client.actions(Connect) == []


def test_session_sends_heartbeats_when_it_has_nothing_else_to_send() -> None:
    client = a_client()
    client.pass_time(5.0)
    assert 9 <= client.out.count(Send(m.Heartbeat())) <= 10


# --- submitting ---------------------------------------------------------------------------------------------


def test_task_is_submitted_with_the_rest_of_its_time() -> None:
    client = AClient()
    client.submits(A, budget_s=60.0)
    assert client.submitted() == []
    client.pass_time(1.0, broker_beats=False)
    client.is_welcomed()
    (submit,) = client.sent(m.Submit)
    assert (submit.task, submit.budget_s, submit.lease_s) == (A, pytest.approx(59.0), 30.0)


def test_many_calls_are_submitted_in_order() -> None:
    client = a_client()
    calls = [e.Call(task, 700.0, 30.0, "job", "", m.EMPTY, 0) for task in (A, B, C)]
    client.out += client.session.submit(calls, client.now)
    assert client.submitted() == [A, B, C]


def test_large_task_is_announced() -> None:
    client = a_client()
    client.submits(A, size=m.BULK_BYTES + 1)
    assert [type(message) for message in client.sent()] == [m.Bulk, m.Submit]


def test_open_tasks_are_submitted_again_in_order_after_a_break() -> None:
    client = a_client()
    client.submits(A, B, C)
    client.hears(m.Accepted(A + B))
    client.gets_result(B)
    client.out.clear()
    client.hears(m.Stale())
    client.is_welcomed()
    assert client.actions(e.Welcomed) == [e.Welcomed(new_broker=False)]
    assert client.submitted() == [A, C]


def test_new_broker_gets_all_open_tasks_and_the_user_is_informed() -> None:
    client = a_client()
    client.submits(A)
    client.hears(m.Accepted(A))
    client.out.clear()
    client.pass_time(6.1, broker_beats=False)
    client.is_welcomed(b"broker-2")
    assert client.actions(e.Welcomed) == [e.Welcomed(new_broker=True)]
    assert client.submitted() == [A]


def test_broker_that_never_acknowledges_gets_everything_again() -> None:
    client = a_client()
    client.submits(A)
    client.out.clear()
    client.pass_time(6.5)
    assert len(client.actions(Connect)) == 1
    client.is_welcomed()
    assert client.submitted() == [A]


def test_acknowledged_task_is_awaited_however_long_it_takes() -> None:
    client = a_client()
    client.submits(A)
    client.hears(m.Accepted(A))
    client.pass_time(60.0)
    assert client.actions(Connect) == []


# --- quota and BUSY -----------------------------------------------------------------------------------------


def test_tasks_beyond_the_granted_number_wait_for_an_outcome() -> None:
    client = a_client(max_tasks=2)
    client.submits(A, B, C)
    client.hears(m.Accepted(A + B))
    assert client.submitted() == [A, B]
    client.gets_result(A)
    assert client.submitted() == [A, B, C]


def test_tasks_beyond_the_granted_bytes_wait_for_an_outcome() -> None:
    client = a_client(max_bytes=25)
    client.submits(A, B, C)
    assert client.submitted() == [A, B]
    client.gets_result(B)
    assert client.submitted() == [A, B, C]


def test_task_larger_than_the_quota_is_submitted_alone() -> None:
    client = a_client(max_bytes=5)
    client.submits(A, B)
    assert client.submitted() == [A]


def test_busy_broker_is_asked_again_after_the_time_it_gave() -> None:
    client = a_client()
    client.submits(A)
    client.out.clear()
    client.hears(m.Refused(0.3, "full", A))
    client.pass_time(0.29)
    assert client.submitted() == []
    client.pass_time(0.02)
    assert client.submitted() == [A]
    assert client.session.refusals == 1


def test_refusal_shrinks_the_window_and_each_outcome_grows_it() -> None:
    client = a_client()
    client.submits(A, B, C)
    client.hears(m.Accepted(A), m.Refused(0.1, "full", B + C))
    client.out.clear()
    client.pass_time(0.2)
    assert client.submitted() == []  # one was taken, and it is still there
    client.gets_result(A)
    assert client.submitted() == [B, C]


def test_refused_tasks_keep_their_order() -> None:
    client = a_client()
    client.submits(A, B, C)
    client.hears(m.Refused(0.1, "full", A + B))
    client.gets_result(C)
    client.out.clear()
    client.pass_time(0.2)
    client.gets_result(A)
    assert client.submitted()[:2] == [A, B]


def test_refused_tasks_do_not_count_against_the_quota_of_bytes() -> None:
    client = a_client(max_bytes=25)
    client.submits(A, B, C)
    client.hears(m.Refused(0.1, "full", A + B))
    client.out.clear()
    client.pass_time(0.2)
    client.gets_result(A)
    assert client.submitted() == [A, B, C]


def test_quota_and_patience_start_again_after_a_break() -> None:
    client = a_client(max_tasks=2)
    client.submits(A, B)
    client.hears(m.Accepted(A), m.Refused(60.0, "full", B))
    client.hears(m.Stale())
    client.out.clear()
    client.is_welcomed(max_tasks=2)
    assert client.submitted() == [A, B]


def test_answer_about_unknown_tasks_changes_nothing() -> None:
    client = a_client()
    client.hears(m.Accepted(A), m.Running(A, 1, "w1"), m.CancelReply(A, 1))
    client.gets_result(A)
    assert client.out == []
    client.submits(B)
    assert client.submitted() == [B]


# --- outcomes -----------------------------------------------------------------------------------------------


def test_first_outcome_is_handed_out_and_later_ones_are_dropped() -> None:
    client = a_client()
    client.submits(A)
    client.gets_result(A)
    client.hears(m.Failed(A, 2, "POISONED", "w1", "late", m.EMPTY))
    assert client.outcomes() == [(A, "RESULT")]
    assert client.session.duplicates == 1


def test_outcome_may_come_before_any_acknowledgement() -> None:
    client = a_client()
    client.submits(A)
    client.gets_result(A)
    client.hears(m.Accepted(A))
    client.pass_time(20.0)
    assert client.actions(Connect) == []


def test_start_is_passed_on() -> None:
    client = a_client()
    client.submits(A)
    client.hears(m.Running(A, 1, "w1"))
    assert client.actions(e.NowRunning) == [e.NowRunning(A, "w1")]


def test_outcomes_of_an_envelope_are_handled_in_order() -> None:
    client = a_client()
    client.submits(A, B)
    results = [m.Result(task, 1, 0.1, "w1", m.EMPTY) for task in (B, A)]
    client.out += client.session.handle_envelope(results, client.now)
    assert client.outcomes() == [(B, "RESULT"), (A, "RESULT")]


def test_without_a_broker_a_task_fails_a_little_after_its_deadline() -> None:
    client = AClient()
    client.submits(A, budget_s=5.0)
    client.pass_time(5.0 + RULES.dead_s - 0.1, broker_beats=False)
    assert client.outcomes() == []
    client.pass_time(0.2, broker_beats=False)
    assert client.outcomes() == [(A, "DEADLINE")]
    client.is_welcomed()
    assert client.submitted() == []


def test_broker_reports_a_deadline_before_the_client_does() -> None:
    client = a_client()
    client.submits(A, budget_s=5.0)
    client.pass_time(5.1)
    client.hears(m.Failed(A, 1, "NO_WORKER", "", "nobody", m.EMPTY))
    client.pass_time(5.0)
    assert client.outcomes() == [(A, "NO_WORKER")]


# --- cancelling ---------------------------------------------------------------------------------------------


def test_task_that_was_never_sent_is_cancelled_at_once() -> None:
    client = AClient()
    client.submits(A)
    client.asks(e.CancelAsked(A))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(A, True)]
    client.is_welcomed()
    assert client.submitted() == []


@pytest.mark.parametrize("done", [0, 1])
def test_broker_decides_about_a_task_that_it_has(done: int) -> None:
    client = a_client()
    client.submits(A)
    client.asks(e.CancelAsked(A))
    assert client.sent(m.Cancel) == [m.Cancel(A)]
    assert client.actions(e.CancelAnswer) == []
    client.hears(m.CancelReply(A, done))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(A, bool(done))]
    client.gets_result(A)
    assert client.outcomes() == ([] if done else [(A, "RESULT")])


def test_outcome_answers_a_cancellation_that_came_too_late() -> None:
    client = a_client()
    client.submits(A)
    client.asks(e.CancelAsked(A))
    client.gets_result(A)
    client.hears(m.CancelReply(A, 0))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(A, False)]


def test_cancellation_lost_in_a_break_is_repeated_after_the_task() -> None:
    client = a_client()
    client.submits(A)
    client.asks(e.CancelAsked(A))
    client.hears(m.Stale())
    client.out.clear()
    client.is_welcomed(b"broker-2")
    assert [type(message) for message in client.sent()] == [m.Submit, m.Cancel]
    client.hears(m.CancelReply(A, 1))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(A, True)]


def test_cancelled_task_unknown_to_the_new_broker_is_cancelled_in_any_case() -> None:
    client = a_client()
    client.submits(A, B)
    client.asks(e.CancelAsked(B))
    client.hears(m.Stale())
    client.is_welcomed(b"broker-2", max_tasks=1)
    client.hears(m.CancelReply(B, 0))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(B, True)]
    client.gets_result(A)
    assert B not in client.submitted()[2:]


def test_unknown_task_cannot_be_cancelled() -> None:
    client = a_client()
    client.asks(e.CancelAsked(A))
    assert client.actions(e.CancelAnswer) == [e.CancelAnswer(A, False)]


def test_cancelled_task_makes_room() -> None:
    client = a_client(max_tasks=1)
    client.submits(A, B)
    client.asks(e.CancelAsked(A))
    client.hears(m.CancelReply(A, 1))
    assert client.submitted() == [A, B]


# --- questions and goodbye ----------------------------------------------------------------------------------


def test_question_waits_for_a_broker_and_is_answered_once() -> None:
    client = AClient()
    client.asks(e.Ask(m.Query(1)))
    assert client.sent(m.Query) == []
    client.is_welcomed()
    assert client.sent(m.Query) == [m.Query(1)]
    client.hears(m.Info(1, b"{}"), m.Info(1, b"{}"))
    assert client.actions(e.Answer) == [e.Answer(m.Info(1, b"{}"))]


def test_unanswered_question_is_asked_again_after_a_break() -> None:
    client = a_client()
    client.asks(e.Ask(m.Note(1, "kill", "w1")))
    client.hears(m.Stale())
    client.is_welcomed()
    assert client.sent(m.Note) == [m.Note(1, "kill", "w1")] * 2


def test_forgotten_question_is_not_asked_again() -> None:
    client = a_client()
    client.asks(e.Ask(m.Note(1, "kill", "w1")))
    client.asks(e.Ask(m.Query(2)))
    client.asks(e.ForgetAsked(1))
    client.asks(e.ForgetAsked(9))  # answered long ago
    client.hears(m.Stale())
    client.is_welcomed()
    assert client.sent(m.Note) == [m.Note(1, "kill", "w1")]
    assert client.sent(m.Query) == [m.Query(2)] * 2


def test_closed_client_says_goodbye_and_is_over() -> None:
    client = a_client()
    client.submits(A)
    client.out.clear()
    client.asks(e.CloseAsked())
    assert [type(message) for message in client.sent()] == [m.ClientGoodbye]
    client.out.clear()
    client.submits(B)
    client.gets_result(A)
    assert client.out == []


def test_client_without_an_answer_just_closes() -> None:
    client = AClient()
    client.out.clear()
    client.asks(e.CloseAsked())
    assert client.out == []
