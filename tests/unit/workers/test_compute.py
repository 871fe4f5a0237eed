"""A worker's attempts: each task gives exactly one report, which can be encoded, whatever the task does."""

from __future__ import annotations

import importlib
import os
import threading
import time
import tracemalloc
import types
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labkit.calls import serialization
from labkit.core import exception_attributes
from labkit.core.peers.worker_events import Finished, Raised
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from workers.compute import TRACEBACK_LIMIT, Compute

JOBS = """
import threading

gate = threading.Event()

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text for this error")

class Leaves(Exception):
    def __str__(self):
        raise SystemExit(3)

class Subtle(Exception):
    def __str__(self):
        class Text(str):
            def __getitem__(self, key): raise SystemExit(4)
            def __format__(self, spec): raise SystemExit(5)
        return Text("quiet")

class Impostor(Exception):
    @property
    def __class__(self): raise SystemExit(6)

class Annotated(Exception):
    @property
    def __notes__(self): raise SystemExit(7)

class Meta(type):
    @property
    def __name__(cls): raise SystemExit(8)

class Nameless(Exception, metaclass=Meta): pass

class Untraceable(Exception):
    @property
    def __traceback__(self): raise SystemExit(9)

class Key:
    def __repr__(self): raise SystemExit(10)

def same(value): return value
def leaves(): raise Leaves
def subtle(): raise Subtle
def impostor(): raise Impostor("not me")
def annotated(): raise Annotated("noted")
def nameless(): raise Nameless("who")
def untraceable(): raise Untraceable("gone")
def syntax(): raise SyntaxError("bad", ("page.txt", 3, 5, b"bytes"))
def syntax_offset(): raise SyntaxError("bad", ("page.txt", "three", 5, "text"))
def group():
    error = ValueError("inmost")
    for _ in range(3000):
        error = ExceptionGroup("deep", [error])
    raise error
def key(): return {Key(): 1}
def wait(): return gate.wait(20)
def mute(): raise Mute
def odd(): raise ValueError("a file called \\udcff")
def long(): raise ValueError("x" * 1_000_000)
def leave(): raise SystemExit(3)
def deep(n=0): return deep(n + 1)
def secret(): return object()
def big(): return bytes(2_000_000)
def wide():
    import numpy
    return numpy.broadcast_to(numpy.uint8(1), (3 << 30,))
def imaginary(number): return [number, 1j] if number == 6 else [number]
def picky(number):
    if number == 6: raise OSError(2, "nope", "page.txt")
    return number
class Own(OSError):
    __module__ = "builtins"
    @property
    def errno(self): raise SystemExit(11)
class Sly:
    @property
    def __class__(self): raise SystemExit(12)
def odd_errno():
    error = OSError(2, "gone")
    error.errno, error.filename, error.filename2 = 10 ** 5000, Sly(), "x" * 20000
    raise error
def vast(): raise ValueError(vast_text)
def vast_bytes(): raise ValueError(vast_text.encode())
def vast_cause():
    try: raise ValueError(vast_text)
    except ValueError as error: raise ExceptionGroup("many", [KeyError("small"), error])
vast_text = "x" * 30_000_000
def owns(number=6):
    if number == 6: raise Own("mine")
    return number
"""
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def odd_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """Yield a module with the jobs above."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "odd_jobs.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("odd_jobs")


@pytest.fixture
def compute(odd_jobs: types.ModuleType) -> Compute:
    """Return a Compute with one slot for those jobs."""
    odd_jobs.gate.clear()
    return Compute(1, ("odd_jobs",), LIMIT)


def call(job: str, *args: object, attempt: int = 1, module: str = "odd_jobs") -> m.Task:
    return m.Task(os.urandom(16), attempt, 30.0, 0, serialization.encode_call(f"{module}:{job}", args, {}))


def outcome(compute: Compute, task: m.Task) -> Finished | Raised:
    compute.add(task)
    return next_report(compute)


def next_report(compute: Compute) -> Finished | Raised:
    taken = compute.take()
    assert taken is not None
    return compute.perform(*taken)


@contextmanager
def running(compute: Compute, odd_jobs: types.ModuleType) -> Iterator[m.Task]:
    """Compute a task in another thread until the block ends, then hand in its report."""
    task = call("wait")
    compute.add(task)
    taken = compute.take()
    assert taken is not None
    thread = threading.Thread(target=lambda: compute.hand_in(compute.perform(*taken)))
    thread.start()
    try:
        yield task
    finally:
        odd_jobs.gate.set()
        thread.join(10)


def test_a_result_comes_back_with_its_time(compute: Compute) -> None:
    task = call("same", [1, "two"])
    over = outcome(compute, task)
    assert isinstance(over, Finished) and (over.task, over.attempt) == (task.task, 1)
    assert serialization.decode_value(over.payload) == [1, "two"] and over.compute_s >= 0


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("mute", "Mute: its text cannot be read"),
        ("odd", "ValueError: a file called"),
        ("leave", "SystemExit: 3"),
        ("leaves", "Leaves: its text cannot be read"),
        ("subtle", "Subtle: quiet"),
        ("impostor", "Impostor: not me"),
        ("annotated", "Annotated: noted"),
        ("nameless", "Nameless: who"),
        ("untraceable", "Untraceable: gone"),
        ("syntax", "SyntaxError: bad (page.txt, line 3)"),
        ("syntax_offset", "SyntaxError: bad"),
        ("group", "ExceptionGroup: deep"),
        ("key", "CannotTravel: value has the key <Key> of type Key"),
        ("deep", "RecursionError: maximum"),
        ("secret", "CannotTravel: "),
        ("nothing", "JobRefused: "),
        ("big", "CannotTravel: the result of odd_jobs:big is 20000"),
        ("wide", "CannotTravel: the result of odd_jobs:wide is 32212"),
        ("owns", "Own: mine"),
        ("odd_errno", "FileNotFoundError: "),
    ],
)
def test_any_failure_of_a_task_is_reported_in_encodable_text(compute: Compute, job: str, said: str) -> None:
    over = outcome(compute, call(job))
    assert isinstance(over, Raised) and over.error.startswith(said)
    message = m.WorkerError(over.task, over.attempt, over.compute_s, "ERROR", over.error, over.payload)
    ((envelope, frames),) = wire.envelopes([message])
    (received,) = wire.decode(envelope, frames, m.FROM_WORKER)
    assert isinstance(received, m.WorkerError) and received.error.startswith(said)
    assert isinstance(outcome(compute, call("same", 1)), Finished), "the thread goes on"


def test_a_job_of_a_foreign_module_is_refused(compute: Compute) -> None:
    over = outcome(compute, call("system", "true", module="os"))
    assert isinstance(over, Raised) and over.error.startswith("JobRefused")


def test_a_payload_that_is_no_call_fails_the_task(compute: Compute) -> None:
    over = outcome(compute, m.Task(bytes(16), 1, 30.0, 0, m.Payload(b"\xc1garbage")))
    assert isinstance(over, Raised) and over.error.startswith("ProtocolError")


def test_a_long_error_and_its_traceback_are_capped(compute: Compute) -> None:
    over = outcome(compute, call("long"))
    assert isinstance(over, Raised)
    assert len(over.error) <= 1000 and len(over.payload.body) < TRACEBACK_LIMIT + 100
    assert over.payload.body.startswith(b"Traceback") and over.payload.body.rstrip().endswith(b"x")


@pytest.mark.parametrize(
    ("job", "said", "errno"),
    [
        ("picky", "FileNotFoundError: [Errno 2] nope", 2),
        ("imaginary", "CannotTravel: value[1] is of type complex", None),
        ("owns", "Own: mine", None),
        ("nothing", "JobRefused: odd_jobs:nothing", None),
    ],
)
def test_a_failure_in_a_chunk_names_its_input(
    compute: Compute, job: str, said: str, errno: int | None
) -> None:
    chunk = serialization.encode_call(
        "labkit.jobs:run_each", [f"odd_jobs:{job}", [(number,) for number in range(4, 8)]], {"first": 4}
    )
    over = outcome(compute, m.Task(os.urandom(16), 1, 30.0, 0, chunk))
    assert isinstance(over, Raised) and over.error.startswith(said)
    attributes = over.payload.frames[0] if over.payload.frames else b""
    assert exception_attributes.index_of(attributes) == (None if job == "nothing" else 6)
    assert exception_attributes.decode(OSError, attributes)["errno"] == errno
    assert "run_each" not in over.error + bytes(over.payload.body).decode()


def test_a_chunk_needs_only_its_own_function_to_be_allowed(compute: Compute) -> None:
    chunk = serialization.encode_call("labkit.jobs:run_each", ["odd_jobs:same", [(1,), ("two",)]], {})
    over = outcome(compute, m.Task(os.urandom(16), 1, 30.0, 0, chunk))
    assert isinstance(over, Finished)
    assert serialization.decode_value(over.payload, of_chunk=True) == [1, "two"]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("vast", "ValueError: xxx"),
        ("vast_bytes", "ValueError: b'xxx"),
        ("vast_cause", "ExceptionGroup: many"),
    ],
)
def test_a_vast_message_is_cut_before_it_is_copied(
    compute: Compute, job: str, said: str, odd_jobs: types.ModuleType
) -> None:
    outcome(compute, call("same", 1))
    tracemalloc.start()
    try:
        over = outcome(compute, call(job))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(over, Raised) and over.error.startswith(said) and len(over.error) <= 1000
    assert f"in {job}" in bytes(over.payload.body).decode()
    own = 30_000_000 if job == "vast_bytes" else 0
    assert peak < own + 15_000_000


def test_tasks_run_in_the_order_in_which_they_came(compute: Compute) -> None:
    for number in range(20):
        compute.add(call("same", number))
    reports = [next_report(compute) for _ in range(20)]
    values = [serialization.decode_value(over.payload) for over in reports if isinstance(over, Finished)]
    assert values == list(range(20))
    assert compute.take() is None


def test_no_more_attempts_run_at_once_than_slots(compute: Compute, odd_jobs: types.ModuleType) -> None:
    waiting = call("same", 1)
    with running(compute, odd_jobs):
        compute.add(waiting)
        assert not compute.has_work and compute.take() is None
    assert compute.has_work and next_report(compute).task == waiting.task


def test_a_waiting_attempt_can_be_withdrawn_once_a_running_one_not(
    compute: Compute, odd_jobs: types.ModuleType
) -> None:
    waiting, last = call("same", 1), call("same", 2)
    with running(compute, odd_jobs) as first:
        compute.add(waiting)
        assert not compute.withdraw(first.task, 1)
        assert compute.withdraw(waiting.task, 1)
        assert not compute.withdraw(waiting.task, 1)
    compute.add(last)
    assert [over.task for over in compute.collect()] == [first.task]
    assert next_report(compute).task == last.task


def test_a_start_is_announced_once_and_only_for_long_attempts(
    compute: Compute, odd_jobs: types.ModuleType
) -> None:
    outcome(compute, call("same", 1))
    assert compute.begun(time.monotonic() + 9) == [] and compute.announce_at() is None
    with running(compute, odd_jobs) as task:
        assert compute.begun(0.0) == [], "it has not run for long"
        due = compute.announce_at()
        assert due is not None
        (start,) = compute.begun(due)
        assert (start.task, start.attempt) == (task.task, 1) and start.at <= time.monotonic()
        assert compute.announce_at() is None and compute.begun(time.monotonic() + 9) == []
    assert compute.begun(time.monotonic() + 9) == []
    assert [over.task for over in compute.collect()] == [task.task] and not compute.has_news


def test_an_attempt_leaves_the_waiting_line_exactly_once(compute: Compute) -> None:
    """One thread takes and another withdraws: together they get each attempt exactly once."""
    tasks = [call("same", number) for number in range(2000)]
    for task in tasks:
        compute.add(task)
    withdrawn: list[bytes] = []
    thread = threading.Thread(
        target=lambda: withdrawn.extend(t.task for t in reversed(tasks) if compute.withdraw(t.task, 1))
    )
    thread.start()
    taken: list[bytes] = []
    while (got := compute.take()) is not None or thread.is_alive():
        if got is not None:
            taken.append(compute.perform(*got).task)
    thread.join()
    assert sorted(taken + withdrawn) == sorted(task.task for task in tasks)
