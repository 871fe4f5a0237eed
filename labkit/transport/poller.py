"""How one thread waits for ZeroMQ sockets, for other threads and for signals at once.

``Poller`` waits on the descriptors that libzmq signals instead of calling ``zmq_poll``, which makes some
twenty system calls each time; with five sockets that is most of the cost of a turn. libzmq's descriptors are
edge-triggered: they report that a socket's state may have changed, not that a message waits. So the poller
always reads a socket's ``EVENTS`` *before* sleeping, and again when its descriptor wakes the thread.

ZeroMQ sockets belong to one thread. Other threads leave work in a queue and wake the owner with a
``labkit.support.waker.Waker``, which the poller waits for too.

Source: the ``ZMQ_FD`` and ``ZMQ_EVENTS`` options in libzmq's zmq_getsockopt(3).
"""

from __future__ import annotations

import selectors

import zmq

from labkit.support.waker import Waker

Socket = zmq.Socket[bytes]


class Poller:
    """The sockets and wakers that one thread waits for."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._busy: list[Socket] = []
        self._unsure: list[Socket] = []  # the others, until they were found empty

    def add(self, waited: Socket | Waker, often: bool = True) -> None:
        """Wait for this too.

        ``often`` is False for sockets that the owner uses only when they woke it, and then reads until they
        are no longer ``readable``: libzmq announces a message only to a reader that had found nothing.
        """
        if isinstance(waited, Waker):
            self._selector.register(waited.fileno(), selectors.EVENT_READ, waited)
            return
        self._selector.register(int(waited.getsockopt(zmq.FD)), selectors.EVENT_READ, waited)
        (self._busy if often else self._unsure).append(waited)

    def remove(self, waited: Socket) -> None:
        """Stop waiting for this socket. Call it before the socket is closed."""
        self._selector.unregister(int(waited.getsockopt(zmq.FD)))
        for listed in (self._busy, self._unsure):
            if waited in listed:
                listed.remove(waited)

    def wait(self, timeout_s: float) -> list[Socket | Waker]:
        """Return the sockets with a message and the wakers that were woken; empty after ``timeout_s``."""
        ready: list[Socket | Waker] = [waited for waited in self._busy if readable(waited)]
        if self._unsure:
            self._unsure = [waited for waited in self._unsure if readable(waited)]
            ready += self._unsure
        # Even when a message waits already, look at wakers and monitors: they must not starve.
        for key, _ in self._selector.select(0 if ready else max(0.0, timeout_s)):
            waited = key.data
            if waited not in ready and (isinstance(waited, Waker) or readable(waited)):
                ready.append(waited)
                if not isinstance(waited, Waker) and waited not in self._busy:
                    self._unsure.append(waited)
        return ready

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()


def readable(waited: Socket) -> bool:
    """Return whether a message waits."""
    return bool(int(waited.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
