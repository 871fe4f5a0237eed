"""How a worker leaves: on request, with nothing held, or because a task outran its lease."""

from __future__ import annotations

import pytest

from labkit.core.peers import worker_events as e
from labkit.core.peers.session import Tick
from labkit.core.protocol import exit_codes
from labkit.core.protocol import messages as m
from tests.tools.sessions import RESULT, RULES, A, AWorker, B, C, a_worker

# --- leases -------------------------------------------------------------------------------------------------


def test_task_beyond_its_lease_is_reported_and_its_worker_exits_as_hung() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    worker.begins(A)
    worker.pass_time(4.9)
    assert worker.exit_code() is None
    worker.pass_time(0.2)
    assert worker.exit_code() == exit_codes.HUNG
    error, goodbye = worker.sent()[-2:]
    assert (error.task, error.code, type(goodbye)) == (A, "HUNG", m.WorkerGoodbye)
    assert error.compute_s == pytest.approx(5.0)


def test_lease_counts_from_the_start_and_not_from_the_arrival() -> None:
    worker = a_worker()
    worker.gets(A, B, lease_s=5.0)
    worker.begins(A)
    worker.pass_time(4.0)
    worker.finishes(A)
    worker.begins(B)
    worker.pass_time(4.0)
    assert worker.exit_code() is None


def test_freeze_of_the_process_is_not_computing() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    worker.begins(A)
    worker.oversleep(60.0)
    worker.pass_time(4.9)
    assert worker.exit_code() is None
    worker.pass_time(0.3)
    assert worker.exit_code() == exit_codes.HUNG


def test_start_that_is_reported_after_a_freeze_counts_from_its_end() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    began = worker.now
    worker.oversleep(60.0)
    worker.sees(e.Began(A, 1, began))
    worker.pass_time(4.9)
    assert worker.exit_code() is None


def test_time_with_the_interpreter_lock_counts_as_compute_time() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    worker.begins(A)
    worker.is_locked(3.0)
    worker.pass_time(1.0)
    assert worker.exit_code() is None
    worker.is_locked(3.0)
    assert worker.exit_code() == exit_codes.HUNG
    assert [type(message) for message in worker.sent()[-2:]] == [m.WorkerError, m.WorkerGoodbye]


def test_only_the_processor_time_of_a_gap_counts_as_compute_time() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    worker.begins(A)
    worker.is_locked(8.0, share=0.5)
    worker.pass_time(0.9)
    assert worker.exit_code() is None
    worker.pass_time(0.2)
    assert worker.exit_code() == exit_codes.HUNG


def test_start_reported_after_a_lock_counts_from_its_beginning() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    began = worker.now
    worker.is_locked(3.0)
    worker.sees(e.Began(A, 1, began))
    worker.pass_time(1.9)
    assert worker.exit_code() is None
    worker.pass_time(0.2)
    assert worker.exit_code() == exit_codes.HUNG


def test_hung_task_of_a_former_epoch_ends_the_worker_without_a_report() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=5.0)
    worker.begins(A)
    worker.hears(m.Stale())
    worker.is_welcomed()
    worker.out.clear()
    worker.pass_time(5.1)
    assert worker.exit_code() == exit_codes.HUNG
    assert [type(message) for message in worker.sent()] == [m.WorkerGoodbye]


def test_leases_s_sums_the_longest_leases_of_as_many_attempts_as_slots() -> None:
    worker = a_worker(slots=2)
    assert worker.session.leases_s == RULES.lease_s
    worker.gets(A, lease_s=5.0)
    assert worker.session.leases_s == 5.0
    worker.gets(B, lease_s=9.0)
    worker.begins(A)
    assert worker.session.leases_s == 14.0
    worker.gets(C, lease_s=7.0)
    assert worker.session.leases_s == 16.0


def test_leases_exclude_tasks_behind_a_careful_one_and_frozen_time() -> None:
    worker = a_worker()
    worker.gets(A, careful=1, lease_s=5.0)
    worker.hears(m.Go(A, 1))
    worker.gets(B, lease_s=900.0)
    worker.begins(A)
    worker.oversleep(60.0)
    assert worker.session.leases_s == 5.0


def test_unknown_attempt_of_a_former_epoch_has_the_default_lease() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=900.0)
    worker.hears(m.Stale())
    worker.is_welcomed()
    worker.gets(B, lease_s=0.5)
    assert worker.session.leases_s == RULES.lease_s


# --- given up while a task kept the interpreter lock --------------------------------------------------------


def given_up_while_locked(*waiting: bytes) -> AWorker:
    """Return a worker that was given up because its task A kept the lock; A still computes."""
    worker = a_worker()
    worker.gets(A, *waiting, lease_s=30.0)
    worker.begins(A)
    worker.is_locked(3.0)
    worker.out.clear()
    worker.hears(m.Stale())
    return worker


def test_worker_given_up_during_a_lock_finishes_the_task_before_its_hello() -> None:
    worker = given_up_while_locked()
    assert worker.sent() == []
    worker.pass_time(2.0)
    worker.is_locked(3.0)
    worker.hears(m.Stale(), m.Stale())
    assert worker.sent() == []
    worker.finishes(A)
    done, hello = worker.sent()
    assert (done.task, type(hello)) == (A, m.WorkerHello)
    worker.is_welcomed()
    worker.gets(B)
    assert worker.ran() == [B]


def test_stopped_worker_returns_waiting_tasks() -> None:
    worker = given_up_while_locked(B)
    assert worker.withdrew() == [B]
    worker.sees(e.Withdrawn(B, 1))
    worker.finishes(A)
    assert [type(message) for message in worker.sent()] == [m.Returned, m.Done, m.WorkerHello]


def test_worker_that_finished_the_locking_task_says_hello_at_once() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.begins(A)
    worker.is_locked(3.0)
    worker.finishes(A)
    worker.out.clear()
    worker.hears(m.Stale())
    assert [type(message) for message in worker.sent()] == [m.WorkerHello]


def test_worker_frozen_after_a_lock_says_hello_at_once() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.begins(A)
    worker.is_locked(1.5)
    worker.oversleep(3.0)
    worker.out.clear()
    worker.hears(m.Stale())
    assert [type(message) for message in worker.sent()] == [m.WorkerHello]


def test_task_with_the_lock_outruns_its_lease_and_is_reported() -> None:
    worker = given_up_while_locked()
    worker.pass_time(30.0)
    assert worker.exit_code() == exit_codes.HUNG
    assert [type(message) for message in worker.sent()] == [m.WorkerError, m.WorkerGoodbye]


def test_worker_asked_to_stop_meanwhile_says_goodbye() -> None:
    worker = given_up_while_locked()
    worker.sees(e.StopAsked())
    worker.hears(m.Stale())
    assert [type(message) for message in worker.sent()] == [m.Leaving, m.WorkerGoodbye]
    assert worker.exit_code() == 0


# --- leaving ------------------------------------------------------------------------------------------------


def test_idle_worker_asked_to_stop_says_goodbye_at_once() -> None:
    worker = a_worker()
    worker.sees(e.StopAsked())
    assert [type(message) for message in worker.sent()] == [m.Leaving, m.WorkerGoodbye]
    assert worker.exit_code() == 0


def test_worker_stopped_before_its_welcome_says_goodbye_too() -> None:
    worker = AWorker()
    worker.out.clear()
    worker.sees(e.StopAsked())
    assert [type(message) for message in worker.sent()] == [m.WorkerGoodbye]
    assert worker.exit_code() == 0


def test_draining_worker_returns_what_waits_and_finishes_what_runs() -> None:
    worker = a_worker()
    worker.gets(A, B)
    worker.begins(A)
    worker.gets(C, careful=1)
    worker.out.clear()
    worker.sees(e.StopAsked())
    assert worker.sent() == [m.Leaving(), m.Returned(C, 1)]
    assert worker.withdrew() == [B]
    worker.sees(e.Withdrawn(B, 1))
    assert worker.exit_code() is None
    worker.finishes(A)
    assert worker.sent()[2:] == [m.Returned(B, 1), m.Done(A, 1, 0.1, RESULT), m.WorkerGoodbye()]
    assert worker.exit_code() == 0


def test_waiting_tasks_are_returned_newest_first() -> None:
    worker = a_worker()
    worker.gets(A, B, C)
    worker.sees(e.StopAsked())
    assert worker.withdrew() == [C, B, A]


def test_tasks_behind_a_careful_one_are_returned_newest_first_too() -> None:
    worker = a_worker()
    worker.gets(A, careful=1)
    worker.gets(B, C)
    worker.out.clear()
    worker.sees(e.StopAsked())
    assert worker.sent()[1:4] == [m.Returned(C, 1), m.Returned(B, 1), m.Returned(A, 1)]
    assert worker.exit_code() == 0


def test_task_that_comes_while_draining_is_returned() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.sees(e.StopAsked())
    worker.gets(B)
    assert worker.sent()[-1] == m.Returned(B, 1)
    assert worker.ran() == [A]


def test_drain_ends_after_its_time() -> None:
    worker = a_worker()
    worker.gets(A, lease_s=100.0)
    worker.begins(A)
    worker.sees(e.StopAsked())
    worker.pass_time(RULES.drain_s - 0.1)
    assert worker.exit_code() is None
    worker.pass_time(0.2)
    assert worker.exit_code() == 0
    assert type(worker.sent()[-1]) is m.WorkerGoodbye


def test_draining_worker_that_was_given_up_does_not_come_back() -> None:
    worker = a_worker()
    worker.gets(A)
    worker.sees(e.StopAsked())
    worker.hears(m.Stale())
    assert worker.exit_code() == 0
    assert worker.took(m.WorkerHello) == []


def test_session_that_is_over_ignores_events() -> None:
    worker = a_worker()
    worker.sees(e.StopAsked())
    worker.out.clear()
    worker.gets(A)
    worker.sees(Tick())
    assert worker.out == []
