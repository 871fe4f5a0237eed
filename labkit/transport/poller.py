"""How one thread waits for ZeroMQ sockets, for other threads and for signals at once.

``Waiter`` waits for sockets. It sleeps on the descriptors that libzmq signals instead of calling
``zmq_poll``, which asks the kernel some twenty times per call: with five sockets that is most of what a turn
of a loop costs. libzmq's descriptors are edge-triggered: one says "look at my socket", not "a message waits".
So a socket is always asked (its ``EVENTS``) *before* sleeping, and again when its descriptor woke us.

``Bell`` lets other threads wake that one: ZeroMQ sockets belong to one thread, so what others want is left in
a queue and announced by a byte through a pair of connected sockets. A ring costs a system call and a change
of threads, a hundred times what leaving the news costs; so the bell only sounds when the other side is about
to sleep. The order that makes it safe:

* who has news first leaves it, then rings;
* who waits first calls ``listen``, then looks for news once more, and only then sleeps.

Source: the ``ZMQ_FD`` and ``ZMQ_EVENTS`` options in libzmq's zmq_getsockopt(3).
"""

from __future__ import annotations

import selectors
import socket
from typing import Any

import zmq


class Waiter:
    """The sockets and bells that one thread waits for."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._busy: list[zmq.Socket[bytes]] = []
        self._unsure: list[zmq.Socket[bytes]] = []  # the others, until they were seen empty

    def add(self, waited: zmq.Socket[bytes] | Bell, often: bool = True) -> None:
        """Wait for this too.

        ``often`` is False for sockets that the owner never uses but when they woke it, and then reads until
        they are no longer ``readable``: libzmq announces a message only to a reader that had found nothing.
        """
        if isinstance(waited, Bell):
            self._selector.register(waited.fileno(), selectors.EVENT_READ, waited)
            return
        self._selector.register(int(waited.getsockopt(zmq.FD)), selectors.EVENT_READ, waited)
        (self._busy if often else self._unsure).append(waited)

    def remove(self, waited: zmq.Socket[bytes]) -> None:
        """Wait for this socket no more; call it before the socket is closed."""
        self._selector.unregister(int(waited.getsockopt(zmq.FD)))
        for listed in (self._busy, self._unsure):
            if waited in listed:
                listed.remove(waited)

    def wait(self, timeout_s: float) -> list[Any]:
        """Return the sockets with a message and the bells that were rung; empty after ``timeout_s`` without
        any."""
        ready: list[Any] = [waited for waited in self._busy if readable(waited)]
        if self._unsure:
            self._unsure = [waited for waited in self._unsure if readable(waited)]
            ready += self._unsure
        # Even when a message waits already, bells and monitors are looked at: they must not starve.
        for key, _ in self._selector.select(0 if ready else max(0.0, timeout_s)):
            waited = key.data
            if waited not in ready and (isinstance(waited, Bell) or readable(waited)):
                ready.append(waited)
                if not isinstance(waited, Bell) and waited not in self._busy:
                    self._unsure.append(waited)
        return ready

    def close(self) -> None:
        """Wait for nothing any more."""
        self._selector.close()


def readable(waited: zmq.Socket[bytes]) -> bool:
    """Return whether a message waits."""
    return bool(int(waited.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


class Bell:
    """``ring`` from any thread; one thread waits: ``listen``, poll ``fileno()``, ``hush``."""

    def __init__(self) -> None:
        self._heard, self._rope = socket.socketpair()
        self._heard.setblocking(False)
        self._rope.setblocking(False)
        self._listening = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the bell was rung."""
        return self._heard.fileno()

    @property
    def rope(self) -> int:
        """The descriptor to which ``signal.set_wakeup_fd`` may write."""
        return self._rope.fileno()

    def ring(self) -> None:
        """Wake the waiting thread if it sleeps; never blocks. Ringing a closed bell does nothing."""
        if not self._listening:
            return
        self._listening = False
        try:
            self._rope.send(b"!")
        except OSError:
            return  # full of rings that are still to be heard, or closed: nobody waits any more

    def listen(self) -> None:
        """Say that this thread is about to sleep. It must look for news once more after this."""
        self._listening = True

    def hush(self, readable: bool = True) -> None:
        """Say that this thread is awake; ``readable``: whether the descriptor was found so."""
        self._listening = False
        if readable:
            try:
                self._heard.recv(4096)
            except BlockingIOError:
                return  # somebody is just pulling the rope: that ring will be heard next time

    def close(self) -> None:
        """Take the bell down."""
        self._heard.close()
        self._rope.close()
