"""Which threads wait for another thread of their process, shown with real threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from labkit.client import thread_states as ts
from labkit.client.callbacks import Callbacks
from tests.tools import nesting
from tests.tools.waiting import wait_until

LEASE_S = 30.0
LINUX_ONLY = ("simple queue", "lock", "pool")
PAUSE_S = 0.05


@pytest.fixture
def inner() -> Iterator[Future[int]]:
    future: Future[int] = Future()
    yield future
    if not future.done():
        future.set_result(1)


def states_without(before: set[int]) -> dict[int, Hashable | None]:
    """Return the states of the threads that a test has started."""
    states = ts.thread_states({}, {}, LEASE_S)
    return {ident: state for ident, state in states.items() if ident not in before}


def is_quiet(before: set[int]) -> bool:
    """Return whether the threads that a test has started wait, and none has run in the meantime."""
    first = states_without(before)
    time.sleep(PAUSE_S)
    return None not in first.values() and bool(first) and first == states_without(before)


def idents() -> set[int]:
    return {0, *sys._current_frames()}


def in_a_thread(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("how", nesting.WAITS)
def test_a_thread_that_waits_for_another_one_waits(inner: Future[int], how: str) -> None:
    if how in LINUX_ONLY and not ts.FUTEX:
        pytest.skip("only Linux tells which system call a thread is in")
    before = idents()
    thread = in_a_thread(lambda: nesting.WAITS[how](inner))
    wait_until(lambda: is_quiet(before), 10, f"{how} to be seen as a wait")
    inner.set_result(1)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("what", nesting.GO_ON)
def test_a_thread_that_goes_on_by_itself_does_not_wait(what: str) -> None:
    before = idents()
    thread = in_a_thread(lambda: nesting.GO_ON[what](0.4))
    looked = 0
    while thread.is_alive():
        quiet = is_quiet(before)
        assert not quiet or not thread.is_alive()
        looked += 1
    assert looked > 1


@pytest.mark.parametrize("limit_s", [LEASE_S, 1000.0])
def test_a_wait_of_a_lease_or_longer_counts_as_endless(limit_s: float) -> None:
    before, event = idents(), threading.Event()
    thread = in_a_thread(lambda: event.wait(limit_s))
    wait_until(lambda: is_quiet(before), 10, "the wait")
    event.set()
    thread.join()


def test_the_idle_thread_of_callbacks_does_not_count_but_a_callback_does() -> None:
    before, callbacks, gate = idents(), Callbacks(), threading.Event()
    callbacks.put(lambda: gate.wait(10))
    wait_until(lambda: None in states_without(before).values(), 10, "the callback")
    gate.set()
    wait_until(lambda: not states_without(before), 10, "the thread to be idle")
    callbacks.close()


def test_what_a_client_knows_of_a_thread_comes_before_what_the_system_shows() -> None:
    me = threading.get_ident()
    assert ts.thread_states({me: None}, {me: "waits for x"}, LEASE_S)[me] == "waits for x"
    assert ts.thread_states({me: None}, {}, LEASE_S)[me] is None
