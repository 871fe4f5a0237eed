"""A bell that wakes a thread which waits for sockets: any thread or signal handler may ring it.

ZeroMQ sockets belong to one thread, so what other threads want is left in a queue and announced by a byte through a
pair of connected sockets, which a ZeroMQ poller can wait for beside its own. Many rings before the bell is heard are
one ring.

The order that makes it safe: who rings has put its news in place before; who hears silences the bell before looking.
"""

from __future__ import annotations

import socket


class Bell:
    """``ring`` from anywhere; the waiting thread polls ``fileno()`` and calls ``silence`` before it looks for news."""

    def __init__(self) -> None:
        self._heard, self._rope = socket.socketpair()
        self._heard.setblocking(False)
        self._rope.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the bell was rung."""
        return self._heard.fileno()

    @property
    def rope(self) -> int:
        """The descriptor to which ``signal.set_wakeup_fd`` may write."""
        return self._rope.fileno()

    def ring(self) -> None:
        """Wake the waiting thread; never blocks. Ringing a closed bell does nothing."""
        if self._rung:
            return
        self._rung = True
        try:
            self._rope.send(b"!")
        except (BlockingIOError, OSError):
            return  # full of rings that are still to be heard, or closed: nobody waits any more

    def silence(self) -> None:
        """Forget the rings so far."""
        self._rung = False
        try:
            self._heard.recv(4096)
        except BlockingIOError:
            return  # it was not rung

    def close(self) -> None:
        """Take the bell down."""
        self._heard.close()
        self._rope.close()
