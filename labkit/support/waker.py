"""How other threads and signals wake a thread that waits in a selector.

``Waker`` is a pair of connected sockets: a byte sent into one makes the other readable (the self-pipe trick).
A wake-up costs a system call and a change of threads, a hundred times the cost of leaving work in a queue. So
``wake`` sends its byte only while the waiting thread is armed, that is, about to sleep. This order makes it
safe:

* a thread that brings work first leaves it in the queue, then calls ``wake``;
* the waiting thread first calls ``arm``, then looks at the queue once more, and only then sleeps.

The standard library only: the supervisor uses it too.
"""

from __future__ import annotations

import socket


class Waker:
    """``wake`` from any thread. One thread waits: ``arm``, wait until ``fileno()`` is readable, ``clear``."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._armed = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable after a wake-up."""
        return self._receiver.fileno()

    @property
    def signal_fd(self) -> int:
        """The descriptor for ``signal.set_wakeup_fd``."""
        return self._sender.fileno()

    def wake(self) -> None:
        """Wake the waiting thread if it sleeps. Never blocks; does nothing after ``close``."""
        if not self._armed:
            return
        self._armed = False
        try:
            self._sender.send(b"!")
        except OSError:
            return  # full: unread wake-ups are waiting already; or closed: no thread waits any more

    def arm(self) -> None:
        """Announce that this thread is about to sleep. It must look for work once more after this."""
        self._armed = True

    def clear(self, readable: bool = True) -> None:
        """Announce that this thread is awake, and read the wake-ups if the descriptor was ``readable``."""
        self._armed = False
        if readable:
            try:
                self._receiver.recv(4096)
            except BlockingIOError:
                return  # the byte is still on its way and will be read next time

    def close(self) -> None:
        """Close both sockets."""
        self._receiver.close()
        self._sender.close()
