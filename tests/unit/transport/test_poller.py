"""Waiting for sockets, bells and signals at once: nothing that came is slept through."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from labkit.transport.poller import Bell, Waiter, readable
from tests.tools.waiting import wait_until

Pair = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets: what one sends, the other receives."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ours, theirs = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ours.bind("inproc://pair")
    theirs.connect("inproc://pair")
    yield ours, theirs
    ours.close(0)
    theirs.close(0)
    context.term()


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    waiter = Waiter()
    yield waiter
    waiter.close()


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell()
    yield bell
    bell.close()


def woken(waiter: Waiter) -> list[object]:
    """What wakes the waiter within five seconds; libzmq may also wake it for nothing."""
    return wait_until(lambda: waiter.wait(0.5), 5, "something to wake for")


# --- sockets ------------------------------------------------------------------------------------------------


def test_nothing_comes_and_the_wait_ends_in_time(waiter: Waiter, pair: Pair) -> None:
    waiter.add(pair[0])
    before = time.monotonic()
    while time.monotonic() < before + 0.05:
        assert waiter.wait(before + 0.05 - time.monotonic()) == []


def test_a_time_in_the_past_does_not_wait(waiter: Waiter, bell: Bell) -> None:
    waiter.add(bell)
    before = time.monotonic()
    assert waiter.wait(-5.0) == []
    assert time.monotonic() < before + 1


def test_each_message_wakes(waiter: Waiter, pair: Pair) -> None:
    ours, theirs = pair
    waiter.add(ours)
    for number in range(50):
        theirs.send(b"%d" % number)
        assert woken(waiter) == [ours]
        assert ours.recv() == b"%d" % number


def test_a_socket_that_is_always_read_empty_needs_no_asking(waiter: Waiter, pair: Pair) -> None:
    ours, theirs = pair
    waiter.add(ours, often=False)
    for number in range(0, 50, 2):
        theirs.send(b"%d" % number)
        theirs.send(b"%d" % (number + 1))
        assert woken(waiter) == [ours]
        heard = []
        while readable(ours):
            heard.append(int(ours.recv()))
        assert heard == [number, number + 1]


@pytest.mark.parametrize("before", [True, False], ids=["before we look", "while we sleep"])
def test_a_monitors_very_first_message_wakes(waiter: Waiter, before: bool) -> None:
    """Nobody has asked it yet, so libzmq does not announce it: a refused secret went unnoticed for good."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    watched = context.socket(zmq.DEALER)
    monitor = watched.get_monitor_socket(zmq.EVENT_LISTENING)
    waiter.add(monitor, often=False)
    if before:
        watched.bind("tcp://127.0.0.1:*")
        assert woken(waiter) == [monitor]
    else:
        timer = threading.Timer(0.1, watched.bind, ("tcp://127.0.0.1:*",))
        timer.start()
        assert waiter.wait(20) == [monitor]
        timer.join()
    waiter.remove(monitor)
    watched.disable_monitor()
    monitor.close(0)
    watched.close(0)
    context.term()


def test_a_socket_that_was_not_read_empty_is_ready_again_at_once(waiter: Waiter, pair: Pair) -> None:
    ours, theirs = pair
    waiter.add(ours)
    for _ in range(3):
        theirs.send(b"message")
    for _ in range(3):
        assert woken(waiter) == [ours]
        ours.recv()
    assert not readable(ours)


def test_a_message_that_came_while_we_were_sending_is_not_slept_through(waiter: Waiter, pair: Pair) -> None:
    """Sending looks at libzmq's descriptor too, and takes its edge away: the socket itself must be asked."""
    ours, theirs = pair
    waiter.add(ours)
    for _ in range(200):
        theirs.send(b"question")
        ours.send(b"answer")  # takes in all that had been announced
        before = time.monotonic()
        assert waiter.wait(10) == [ours] and time.monotonic() < before + 5
        ours.recv()
        theirs.recv()


def test_a_bell_is_heard_even_while_a_socket_is_always_ready(waiter: Waiter, pair: Pair, bell: Bell) -> None:
    ours, theirs = pair
    waiter.add(ours)
    waiter.add(bell)
    theirs.send(b"never read")
    bell.listen()
    bell.ring()
    ready = wait_until(lambda: {bell, *waiter.wait(0.5)} if bell in waiter.wait(0.5) else set(), what="both")
    assert ready == {ours, bell}


def test_a_removed_socket_wakes_nobody_and_may_be_closed(waiter: Waiter, pair: Pair, bell: Bell) -> None:
    ours, theirs = pair
    waiter.add(ours)
    waiter.add(bell)
    waiter.remove(ours)
    theirs.send(b"message")
    ours.close(0)
    bell.listen()
    bell.ring()
    assert woken(waiter) == [bell]


# --- the bell -----------------------------------------------------------------------------------------------


def test_a_ring_before_listening_makes_no_noise(waiter: Waiter, bell: Bell) -> None:
    waiter.add(bell)
    bell.ring()
    assert waiter.wait(0) == []


def test_many_rings_are_one_noise(waiter: Waiter, bell: Bell) -> None:
    waiter.add(bell)
    bell.listen()
    for _ in range(10_000):
        bell.ring()
    assert waiter.wait(5) == [bell]
    bell.hush()
    assert waiter.wait(0) == []


def test_a_closed_bell_may_be_rung() -> None:
    bell = Bell()
    bell.listen()
    bell.close()
    bell.ring()


def test_hushing_an_unrung_bell_does_not_wait(bell: Bell) -> None:
    bell.listen()
    bell.hush()
    bell.hush(readable=False)


def test_a_rope_that_was_pulled_too_often_does_not_block(waiter: Waiter, bell: Bell) -> None:
    """Signals pull the rope without asking whether somebody listens."""
    waiter.add(bell)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(bell.rope, b"s" * 4096)
    bell.listen()
    bell.ring()
    assert waiter.wait(5) == [bell]
    for _ in range(1000):
        bell.hush()
    assert waiter.wait(0) == []


def test_news_left_by_many_threads_is_never_slept_through(waiter: Waiter, bell: Bell) -> None:
    """The order that makes it safe: leave news, ring; listen, look, sleep. A lost ring would cost 20 s."""
    waiter.add(bell)
    news: list[int] = []
    count, threads = 300, 4
    got_one = threading.Semaphore(threads)

    def leave() -> None:
        for number in range(count):
            got_one.acquire()
            news.append(number)
            bell.ring()

    leaving = [threading.Thread(target=leave) for _ in range(threads)]
    for thread in leaving:
        thread.start()
    heard, before = 0, time.monotonic()
    while heard < count * threads:
        bell.listen()
        ready = waiter.wait(0.0 if news else 20.0)
        bell.hush(bell in ready)
        while news:
            news.pop()
            heard += 1
            got_one.release()
    for thread in leaving:
        thread.join()
    assert time.monotonic() < before + 19


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_signal_wakes_through_the_rope(waiter: Waiter, bell: Bell) -> None:
    seen: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    former_fd = signal.set_wakeup_fd(bell.rope, warn_on_full_buffer=False)
    try:
        waiter.add(bell)
        bell.listen()
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert waiter.wait(20) == [bell]
        timer.join()
        wait_until(lambda: seen, what="the handler")
    finally:
        signal.set_wakeup_fd(former_fd)
        signal.signal(signal.SIGUSR1, former)
