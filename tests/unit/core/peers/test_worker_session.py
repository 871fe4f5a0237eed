"""The worker's session: joining, running, careful tasks, and returning tasks."""

from __future__ import annotations

import pytest

from labkit.core.peers import worker_events as e
from labkit.core.peers.session import Connect, Phase, Send
from labkit.core.protocol import exit_codes
from labkit.core.protocol import messages as m
from tests.tools.sessions import RESULT, RULES, A, AWorker, B, C, a_worker

# --- joining ------------------------------------------------------------------------------------------------


def test_session_connects_and_says_hello() -> None:
    worker = AWorker(slots=3)
    assert worker.out == [
        Connect(), Send(m.WorkerHello(b"fresh001", b"fresh002", 3, 77, "worker-1", "blur,edges")),
    ]  # fmt: skip
    worker.is_welcomed()
    assert worker.session.phase is Phase.READY


def test_unanswered_worker_reconnects_and_says_hello_with_a_new_epoch() -> None:
    worker = AWorker()
    worker.out.clear()
    worker.pass_time(RULES.dead_s + 0.01, broker_beats=False)
    assert [type(action) for action in worker.out] == [Connect, Send]
    (hello,) = worker.sent()
    assert (hello.instance, hello.epoch) == (b"fresh001", b"fresh003")


def test_welcome_to_a_former_hello_is_ignored() -> None:
    worker = AWorker()
    worker.hears(m.WorkerWelcome(b"broker-1", b"former--", 0.5, 6.0))
    assert worker.session.phase is Phase.GREETING


def test_refused_worker_asks_again_while_its_predecessor_may_be_dying() -> None:
    worker = AWorker()
    worker.out.clear()
    worker.hears(m.WorkerRefused("another worker is called worker-1"))
    worker.pass_time(RULES.heartbeat_s + 0.01)
    assert len(worker.took(m.WorkerHello)) == 1
    worker.is_welcomed()
    assert worker.session.phase is Phase.READY


def test_worker_refused_for_long_exits_as_refused() -> None:
    worker = AWorker()
    for _ in range(20):
        worker.hears(m.WorkerRefused("another worker is called worker-1"))
        worker.pass_time(RULES.heartbeat_s + 0.01, broker_beats=False)
    assert worker.exit_code() == exit_codes.REFUSED
    assert worker.now - 100.0 >= RULES.dead_s


def test_stale_worker_joins_again_on_the_same_connection() -> None:
    worker = a_worker()
    worker.hears(m.Stale(), m.Stale())
    assert [type(action) for action in worker.out] == [Send]
    assert [hello.epoch for hello in worker.took(m.WorkerHello)] == [b"fresh003"]


def test_silent_broker_is_given_up_after_its_patience() -> None:
    worker = a_worker()
    worker.pass_time(5.9, broker_beats=False)
    assert worker.took(Connect) == []
    worker.pass_time(0.2, broker_beats=False)
    assert len(worker.took(Connect)) == 1


def test_announced_bulk_extends_the_patience() -> None:
    worker = a_worker()
    worker.hears(m.Bulk(int(10 * RULES.slow_link_bytes_per_s)))
    worker.pass_time(15.9, broker_beats=False)
    assert worker.took(Connect) == []
    worker.pass_time(0.2, broker_beats=False)
    assert len(worker.took(Connect)) == 1


def test_own_freeze_is_not_the_brokers_silence() -> None:
    worker = a_worker()
    worker.oversleep(60.0)
    assert worker.took(Connect) == []
    assert worker.session.phase is Phase.READY


def test_session_sends_heartbeats_when_it_has_nothing_else_to_send() -> None:
    worker = a_worker()
    worker.pass_time(5.0)
    assert 9 <= len([a for a in worker.out if a == Send(m.Heartbeat())]) <= 10


# --- running ------------------------------------------------------------------------------------------------


def test_tasks_are_handed_over_on_arrival_and_answered_with_their_results() -> None:
    worker = a_worker()
    worker.gets(A, B)
    assert worker.ran() == [A, B]
    worker.finishes(A)
    assert worker.sent() == [m.Done(A, 1, 0.1, RESULT)]


def test_messages_of_an_envelope_are_handled_in_order() -> None:
    worker = a_worker()
    tasks = [m.Task(task, 1, 30.0, 0, m.EMPTY) for task in (A, B)]
    assert worker.session.handle_envelope(tasks, worker.now) == [e.Run(task) for task in tasks]


def test_exception_is_reported_as_an_error() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.sees(e.Raised(A, 1, 0.1, "ValueError: no", m.Payload(b"traceback")))
    assert worker.sent() == [m.WorkerError(A, 1, 0.1, "ERROR", "ValueError: no", m.Payload(b"traceback"))]


def test_start_is_announced_when_a_task_takes_a_while() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.begins(A)
    assert worker.sent() == [m.Started(A, 1, 0)]


def test_start_is_not_announced_after_the_end() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.finishes(A)
    worker.begins(A)
    assert [type(message) for message in worker.sent()] == [m.Done]


def test_large_result_is_announced() -> None:
    worker = a_worker()
    worker.gets(A)
    large = m.Payload(bytes(m.BULK_BYTES + 1))
    worker.finishes(A, payload=large)
    assert worker.sent()[0] == m.Bulk(large.size)


def test_task_before_the_welcome_belongs_to_a_former_epoch() -> None:
    worker = AWorker()
    worker.gets(A)
    assert worker.ran() == []


# --- careful tasks ------------------------------------------------------------------------------------------


def test_careful_task_is_announced_and_runs_only_after_go() -> None:
    worker = a_worker()
    worker.gets(A, careful=1)
    assert worker.sent() == [m.Started(A, 1, 1)]
    assert worker.ran() == []
    worker.hears(m.Go(A, 1))
    assert worker.ran() == [A]


@pytest.mark.parametrize("go", [m.Go(B, 1), m.Go(A, 2)])
def test_go_for_another_attempt_is_ignored(go: m.Go) -> None:
    worker = a_worker()
    worker.gets(A, careful=1)
    worker.hears(go)
    assert worker.ran() == []


def test_careful_task_runs_alone() -> None:
    worker = a_worker(slots=2)
    worker.gets(A)
    worker.gets(B, careful=1)
    worker.gets(C)
    assert (worker.ran(), worker.sent()) == ([A], [])
    worker.finishes(A)
    assert worker.sent()[-1] == m.Started(B, 1, 1)
    worker.hears(m.Go(B, 1))
    assert worker.ran() == [A, B]
    worker.finishes(B)
    assert worker.ran() == [A, B, C]


def test_tasks_arriving_during_a_careful_one_wait_for_its_end() -> None:
    worker = a_worker(slots=2)
    worker.gets(A, careful=1)
    worker.hears(m.Go(A, 1))
    worker.gets(B)
    assert worker.ran() == [A]
    worker.finishes(A)
    assert worker.ran() == [A, B]


def test_start_of_a_careful_task_is_announced_once() -> None:
    worker = a_worker()
    worker.gets(A, careful=1)
    worker.hears(m.Go(A, 1))
    worker.begins(A)
    assert worker.sent() == [m.Started(A, 1, 1)]


def test_careful_task_revoked_before_its_go_admits_the_next_one() -> None:
    worker = a_worker()
    worker.gets(A, careful=1)
    worker.gets(B)
    worker.hears(m.Revoke(A, 1), m.Go(A, 1))
    assert m.Returned(A, 1) in worker.sent()
    assert worker.ran() == [B]


# --- giving back --------------------------------------------------------------------------------------------


def test_revoked_task_that_still_waits_is_withdrawn_and_returned() -> None:
    worker = a_worker()
    worker.gets(A, B)
    worker.hears(m.Revoke(B, 1))
    assert worker.withdrew() == [B]
    assert worker.sent() == []
    worker.sees(e.Withdrawn(B, 1))
    assert worker.sent() == [m.Returned(B, 1)]


def test_revoked_task_that_computes_is_answered_with_its_result() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.hears(m.Revoke(A, 1))
    worker.finishes(A)
    assert worker.sent() == [m.Done(A, 1, 0.1, RESULT)]


def test_answered_attempt_is_not_answered_again() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.finishes(A)
    worker.out.clear()
    worker.hears(m.Revoke(A, 1))
    assert worker.out == []


def test_results_of_a_former_epoch_are_dropped_and_counted() -> None:
    worker = a_worker()
    worker.gets(A, B)
    worker.begins(A)
    worker.out.clear()
    worker.hears(m.Stale())
    assert worker.withdrew() == [B]
    worker.is_welcomed()
    worker.out.clear()
    worker.finishes(A)
    worker.sees(e.Raised(B, 1, 0.1, "ValueError", m.EMPTY))
    assert worker.sent() == []
    assert worker.session.dropped_results == 2


def test_same_attempt_from_a_new_broker_is_returned_while_the_old_one_computes() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.begins(A)
    worker.hears(m.Stale())
    worker.is_welcomed(b"broker-2")
    worker.out.clear()
    worker.gets(A)
    assert worker.sent() == [m.Returned(A, 1)]
    worker.gets(A, attempt=2)
    assert worker.ran() == [A]
