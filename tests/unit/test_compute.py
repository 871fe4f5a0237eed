"""The threads that compute: whatever a task does, exactly one report comes out, and it can be sent."""

from __future__ import annotations

import importlib
import os
import time
import types
from collections.abc import Iterator

import pytest

from labkit import codec
from labkit.core import messages as m
from labkit.core.worker_session import Finished, Raised
from labkit.waiting import Bell
from tests.support import wait_until
from workers.compute import TRACEBACK_LIMIT, Compute

JOBS = '''
import threading

gate = threading.Event()

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("I do not say what I am")

def same(value): return value
def wait(): return gate.wait(20)
def mute(): raise Mute
def odd(): raise ValueError("a file called \\udcff")
def long(): raise ValueError("x" * 1_000_000)
def leave(): raise SystemExit(3)
def deep(n=0): return deep(n + 1)
def secret(): return object()
def big(): return bytes(2_000_000)
'''
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def odd_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """The jobs above as a module."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "odd_jobs.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("odd_jobs")


@pytest.fixture
def compute(odd_jobs: types.ModuleType) -> Iterator[Compute]:
    """One computing thread that may run those jobs."""
    odd_jobs.gate.clear()
    bell = Bell()
    yield Compute(1, ("odd_jobs",), bell, LIMIT)
    odd_jobs.gate.set()
    bell.close()


def call(job: str, *args: object, attempt: int = 1, module: str = "odd_jobs") -> m.Task:
    return m.Task(os.urandom(16), attempt, 30.0, 0, codec.encode_call(f"{module}:{job}", args, {}))


def outcome(compute: Compute, task: m.Task) -> Finished | Raised:
    compute.run(task)
    return collect(compute, 1)[0]


def collect(compute: Compute, number: int) -> list[Finished | Raised]:
    over: list[Finished | Raised] = []

    def enough() -> bool:
        over.extend(compute.collect())
        return len(over) >= number

    wait_until(enough, 10, f"{number} reports")
    return over


def running(compute: Compute, task: m.Task) -> m.Task:
    """Hand over a task that waits for the gate; return it once it is computing, and announced."""
    compute.run(task)
    (began,) = wait_until(lambda: compute.begun(time.monotonic())[0], what="an announcement")
    assert (began.task, began.attempt) == (task.task, task.attempt) and began.at <= time.monotonic()
    return task


def test_a_result_comes_back_with_its_time(compute: Compute) -> None:
    task = call("same", [1, "two"])
    over = outcome(compute, task)
    assert isinstance(over, Finished) and (over.task, over.attempt) == (task.task, 1)
    assert codec.decode_value(over.payload) == [1, "two"] and over.compute_s >= 0


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("mute", "Mute: its text cannot be had"),
        ("odd", "ValueError: a file called"),
        ("leave", "SystemExit: 3"),
        ("deep", "RecursionError: maximum"),
        ("secret", "CannotTravel: "),
        ("nothing", "JobRefused: "),
        ("big", "CannotTravel: the result of odd_jobs:big is 20000"),
    ],
)
def test_whatever_a_task_does_is_reported_in_words_that_travel(compute: Compute, job: str, said: str) -> None:
    over = outcome(compute, call(job))
    assert isinstance(over, Raised) and over.error.startswith(said)
    message = m.WorkerError(over.task, over.attempt, over.compute_s, "ERROR", over.error, over.payload)
    ((envelope, frames),) = m.envelopes([message])
    assert m.decode(envelope, frames, m.FROM_WORKER)[0].error.startswith(said)
    assert isinstance(outcome(compute, call("same", 1)), Finished), "the thread goes on"


def test_a_job_of_a_foreign_module_is_refused(compute: Compute) -> None:
    over = outcome(compute, call("system", "true", module="os"))
    assert isinstance(over, Raised) and over.error.startswith("JobRefused")


def test_bytes_that_are_no_call_are_the_tasks_failure(compute: Compute) -> None:
    over = outcome(compute, m.Task(bytes(16), 1, 30.0, 0, m.Payload(b"\xc1garbage")))
    assert isinstance(over, Raised) and over.error.startswith("ProtocolError")


def test_a_long_error_and_its_traceback_are_capped(compute: Compute) -> None:
    over = outcome(compute, call("long"))
    assert isinstance(over, Raised)
    assert len(over.error) <= 1000 and len(over.payload.body) < TRACEBACK_LIMIT + 100
    assert over.payload.body.startswith(b"Traceback") and over.payload.body.rstrip().endswith(b"x")


def test_tasks_run_in_the_order_in_which_they_came(compute: Compute) -> None:
    for number in range(20):
        compute.run(call("same", number))
    values = [codec.decode_value(over.payload) for over in collect(compute, 20) if isinstance(over, Finished)]
    assert values == list(range(20))


def test_what_waits_can_be_withdrawn_once_and_what_runs_cannot(
    compute: Compute, odd_jobs: types.ModuleType
) -> None:
    first, waiting, last = running(compute, call("wait")), call("same", 1), call("same", 2)
    compute.run(waiting)
    assert not compute.withdraw(first.task, 1)
    assert compute.withdraw(waiting.task, 1)
    assert not compute.withdraw(waiting.task, 1)
    odd_jobs.gate.set()
    compute.run(last)
    assert [over.task for over in collect(compute, 2)] == [first.task, last.task]


def test_a_start_is_announced_once_and_only_when_it_takes_a_while(
    compute: Compute, odd_jobs: types.ModuleType
) -> None:
    compute.run(call("same", 1))
    collect(compute, 1)
    assert compute.begun(time.monotonic()) == ([], None)
    running(compute, call("wait"))
    assert compute.begun(time.monotonic() + 9) == ([], None)
    odd_jobs.gate.set()
    collect(compute, 1)


def test_while_all_threads_compute_nobody_needs_to_ask_for_what_waits(
    compute: Compute, odd_jobs: types.ModuleType
) -> None:
    running(compute, call("wait"))
    compute.run(call("same", 1))
    assert compute.begun(time.monotonic()) == ([], None), "the bell will tell when a thread is free"
    odd_jobs.gate.set()
    collect(compute, 2)
