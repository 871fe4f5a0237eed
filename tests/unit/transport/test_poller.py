"""Waiting for sockets, wakers and signals at once: no event is slept through."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from labkit.support.waker import Waker
from labkit.transport.poller import Poller, readable
from tests.tools.waiting import wait_until

Pair = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Return two connected sockets."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ours, theirs = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ours.bind("inproc://pair")
    theirs.connect("inproc://pair")
    yield ours, theirs
    ours.close(0)
    theirs.close(0)
    context.term()


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


def woken(poller: Poller) -> list[zmq.Socket[bytes] | Waker]:
    """Return what wakes the poller within five seconds; libzmq may also wake it for nothing."""
    return wait_until(lambda: poller.wait(0.5), 5, "something to wake for")


# --- sockets ------------------------------------------------------------------------------------------------


def test_a_wait_without_messages_ends_in_time(poller: Poller, pair: Pair) -> None:
    poller.add(pair[0])
    before = time.monotonic()
    while time.monotonic() < before + 0.05:
        assert poller.wait(before + 0.05 - time.monotonic()) == []


def test_a_time_in_the_past_does_not_wait(poller: Poller, waker: Waker) -> None:
    poller.add(waker)
    before = time.monotonic()
    assert poller.wait(-5.0) == []
    assert time.monotonic() < before + 1


def test_each_message_wakes(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours)
    for number in range(50):
        theirs.send(b"%d" % number)
        assert woken(poller) == [ours]
        assert ours.recv() == b"%d" % number


def test_a_rarely_used_socket_that_is_read_empty_wakes_each_time(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours, often=False)
    for number in range(0, 50, 2):
        theirs.send(b"%d" % number)
        theirs.send(b"%d" % (number + 1))
        assert woken(poller) == [ours]
        heard = []
        while readable(ours):
            heard.append(int(ours.recv()))
        assert heard == [number, number + 1]


@pytest.mark.parametrize("before", [True, False], ids=["before we look", "while we sleep"])
def test_the_very_first_message_of_a_monitor_wakes(poller: Poller, before: bool) -> None:
    """libzmq announces a message only to a reader that found none before: a refused secret went unnoticed."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    watched = context.socket(zmq.DEALER)
    monitor = watched.get_monitor_socket(zmq.EVENT_LISTENING)
    poller.add(monitor, often=False)
    if before:
        watched.bind("tcp://127.0.0.1:*")
        assert woken(poller) == [monitor]
    else:
        timer = threading.Timer(0.1, watched.bind, ("tcp://127.0.0.1:*",))
        timer.start()
        assert poller.wait(20) == [monitor]
        timer.join()
    poller.remove(monitor)
    watched.disable_monitor()
    monitor.close(0)
    watched.close(0)
    context.term()


def test_a_socket_not_read_empty_is_ready_again_at_once(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours)
    for _ in range(3):
        theirs.send(b"message")
    for _ in range(3):
        assert woken(poller) == [ours]
        ours.recv()
    assert not readable(ours)


def test_a_message_that_arrives_while_sending_is_not_slept_through(poller: Poller, pair: Pair) -> None:
    """Sending also consumes the edge of libzmq's descriptor, so the socket's EVENTS must be read."""
    ours, theirs = pair
    poller.add(ours)
    for _ in range(200):
        theirs.send(b"question")
        ours.send(b"answer")  # also consumes the announcement of the question
        before = time.monotonic()
        assert poller.wait(10) == [ours] and time.monotonic() < before + 5
        ours.recv()
        theirs.recv()


def test_a_wake_up_is_seen_while_a_socket_is_always_ready(poller: Poller, pair: Pair, waker: Waker) -> None:
    ours, theirs = pair
    poller.add(ours)
    poller.add(waker)
    theirs.send(b"never read")
    waker.arm()
    waker.wake()
    ready = wait_until(
        lambda: {waker, *poller.wait(0.5)} if waker in poller.wait(0.5) else set(), what="both"
    )
    assert ready == {ours, waker}


def test_a_removed_socket_does_not_wake_and_may_be_closed(poller: Poller, pair: Pair, waker: Waker) -> None:
    ours, theirs = pair
    poller.add(ours)
    poller.add(waker)
    poller.remove(ours)
    theirs.send(b"message")
    ours.close(0)
    waker.arm()
    waker.wake()
    assert woken(poller) == [waker]


# --- wake-ups -----------------------------------------------------------------------------------------------


def test_waking_an_unarmed_waker_sends_nothing(poller: Poller, waker: Waker) -> None:
    poller.add(waker)
    waker.wake()
    assert poller.wait(0) == []


def test_many_wakes_send_one_byte(poller: Poller, waker: Waker) -> None:
    poller.add(waker)
    waker.arm()
    for _ in range(10_000):
        waker.wake()
    assert poller.wait(5) == [waker]
    waker.clear()
    assert poller.wait(0) == []


def test_waking_a_closed_waker_does_nothing() -> None:
    waker = Waker()
    waker.arm()
    waker.close()
    waker.wake()


def test_clearing_a_waker_without_a_wake_up_does_not_wait(waker: Waker) -> None:
    waker.arm()
    waker.clear()
    waker.clear(readable=False)


def test_waking_a_waker_full_of_signals_does_not_block(poller: Poller, waker: Waker) -> None:
    """A signal writes its byte whether the waker is armed or not."""
    poller.add(waker)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(waker.signal_fd, b"s" * 4096)
    waker.arm()
    waker.wake()
    assert poller.wait(5) == [waker]
    for _ in range(1000):
        waker.clear()
    assert poller.wait(0) == []


def test_work_left_by_many_threads_is_never_slept_through(poller: Poller, waker: Waker) -> None:
    """The safe order: leave work, wake; arm, look, sleep. A lost wake-up would cost 20 s."""
    poller.add(waker)
    news: list[int] = []
    count, threads = 300, 4
    got_one = threading.Semaphore(threads)

    def leave() -> None:
        for number in range(count):
            got_one.acquire()
            news.append(number)
            waker.wake()

    leaving = [threading.Thread(target=leave) for _ in range(threads)]
    for thread in leaving:
        thread.start()
    heard, before = 0, time.monotonic()
    while heard < count * threads:
        waker.arm()
        ready = poller.wait(0.0 if news else 20.0)
        waker.clear(waker in ready)
        while news:
            news.pop()
            heard += 1
            got_one.release()
    for thread in leaving:
        thread.join()
    assert time.monotonic() < before + 19


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_signal_wakes_through_the_wakers_descriptor(poller: Poller, waker: Waker) -> None:
    seen: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    former_fd = signal.set_wakeup_fd(waker.signal_fd, warn_on_full_buffer=False)
    try:
        poller.add(waker)
        waker.arm()
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert poller.wait(20) == [waker]
        timer.join()
        wait_until(lambda: seen, what="the handler")
    finally:
        signal.set_wakeup_fd(former_fd)
        signal.signal(signal.SIGUSR1, former)
