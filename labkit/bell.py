"""A bell that wakes a thread which waits for sockets: any thread or signal handler may ring it.

ZeroMQ sockets belong to one thread, so what other threads want is left in a queue and announced by a byte through a
pair of connected sockets, which a ZeroMQ poller can wait for beside its own.

A ring costs a system call and a change of threads, a hundred times what leaving the news costs; so the bell only sounds
when the other side is about to sleep. The order that makes it safe:

* who has news first leaves it, then rings;
* who waits first calls ``listen``, then looks for news once more, and only then sleeps.
"""

from __future__ import annotations

import socket


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
