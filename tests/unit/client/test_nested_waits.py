"""A task that waits for several tasks at once is noticed, and so is the end of that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from typing import Any

import pytest

from labkit.client import nested_waits
from labkit.client.futures import TaskFuture
from labkit.client.nested_waits import NestedWaits, Waiters
from labkit.core.peers import client_events as ce
from labkit.support import current_task
from labkit.support.current_task import CurrentTask
from tests.tools.waiting import wait_until

INSIDE = CurrentTask(b"o" * 16, 2, 30.0)
A, B = b"a" * 16, b"b" * 16


class FakeClient:
    """As much of a client as its futures need for this."""

    def __init__(self) -> None:
        self.reports: list[tuple[bytes, ...]] = []
        self.waits = NestedWaits(self._post)

    def _post(self, waits: ce.WaitsNow) -> None:
        assert (waits.task, waits.attempt) == (INSIDE.task, INSIDE.attempt)
        self.reports.append(waits.awaited)

    def nested_waiters(self, inside: CurrentTask) -> list[Any]:
        return Waiters(self.waits, inside)

    def future(self, task: bytes) -> TaskFuture:
        return TaskFuture(self, task)  # type: ignore[arg-type]

    def end(self, future: TaskFuture) -> None:
        self.waits.outcome(future.task)
        future.set_result(None)


@pytest.fixture
def client() -> Iterator[FakeClient]:
    current_task.set_current(INSIDE)
    yield FakeClient()
    current_task.set_current(None)


def in_a_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


@pytest.mark.parametrize("call", [wait, lambda fs: list(as_completed(fs)), lambda fs: wait(fs, 60.0)])
def test_wait_is_reported_with_what_is_still_open_and_with_its_end(
    client: FakeClient, call: Callable[[list[Future[Any]]], object]
) -> None:
    one, other = client.future(A), client.future(B)
    waiting = in_a_thread(lambda: call([one, other]))
    wait_until(lambda: client.reports, 5, "the wait")
    assert sorted(client.reports[0]) == [A, B]
    client.end(one)
    assert client.reports[1] == (B,)
    client.end(other)
    waiting.join()
    assert client.reports[-1] == ()


def test_wait_for_the_first_one_ends_with_it(client: FakeClient) -> None:
    one, other = client.future(A), client.future(B)
    waiting = in_a_thread(lambda: wait([one, other], return_when=FIRST_COMPLETED))
    wait_until(lambda: client.reports, 5, "the wait")
    client.end(one)
    waiting.join()
    assert client.reports[-1] == ()


def test_wait_that_ends_by_itself_or_is_not_ours_alone_is_not_reported(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait([client.future(A)], timeout=0.01)
    foreign: Future[Any] = Future()
    threading.Timer(0.05, foreign.set_result, [None]).start()
    wait([client.future(A), foreign], return_when=FIRST_COMPLETED)
    monkeypatch.setattr(nested_waits, "MOST", 1)
    many = [client.future(A), client.future(B)]
    threading.Timer(0.05, many[0].set_result, [None]).start()
    wait(many, return_when=FIRST_COMPLETED)
    assert client.reports == []


def test_futures_outside_a_task_keep_the_standard_list() -> None:
    assert type(FakeClient().future(A)._waiters) is list
