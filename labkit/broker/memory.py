"""A bound for memory that the broker cannot see: who fills libzmq's buffers, and never ends a message.

Everything that has reached the broker is counted and bounded by its rules: queues, quotas, what waits for a
peer that does not read. But libzmq hands a message over only when its last frame is here, and has no limit
for their number: an authenticated peer that sends empty frames for ever, each announcing one more, fills some
thirty bytes of memory with each byte that it sends, 300 MB a second, and the broker sees nothing of it.

So the process's own size is watched. It may be what it was at the start, and what the broker ever held by its
rules (freed memory may stay with the process, so the most counts, not the present), and ``room`` more. How
soon it is looked at again depends on how much of that is left: not even ``FASTEST`` could fill it by then.
Beyond the bound, whoever is in the middle of an endless message is hung up on:

* the *loud*: more than a few heartbeats lie unread in its connection (the kernel tells), and yet it has
  finished no message for ``UNFINISHED_S``. That can only be judged when the broker has read everything that
  was finished; or when the process is too large by another ``room``, and so anyhow.
* the *silent*: it has finished no message for longer than a peer that beats can be. So who sends slowly is
  found.

Innocent ones among them (frozen, or in the middle of a large result) connect again. There is one thing that
hanging up does not free: messages that *are* finished, and have millions of frames, must be read to their
end. If they are what makes the process too large by another ``room``, all who use that socket are hung up on,
because libzmq throws away everything only with the socket.

::

    as usual ──too large──► hang up on the flooding and the silent ──RETURN_S──► give back what was freed ──┐
       ▲                       │ nobody is        ▲                                                     │
       │                       ▼ either           └── still too large, and somebody is loud or silent ──┤
       │            hang up on all subscribers                                                          │
       └── nobody is for QUIET_S: what is left is nobody's fault, and counts as known, within bounds ◄──┘

Where the size of a process cannot be read (Windows), there is no such bound.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable
from typing import Protocol

LOOK_S = 0.2
"""The process's size is looked at this often at least ..."""
SOON_S = 0.005
"""... and this often at most."""
FASTEST = 2e9
"""Bytes that a second of bombing can fill at most; one thread of libzmq's reads all connections."""
RETURN_S = 0.5
"""How long connections that were hung up on may take to end, before freed memory is given back."""
QUIET_S = 3.0
IDLE_S = 1.0
"""Whoever beats is heard twice in this time."""
UNFINISHED_S = 0.1
FLOODING_BYTES = 4096
"""Unread bytes that are no heartbeats."""
TASK_BYTES = 3_000
"""What an open task costs beside its payload: its records, its place in queues, its events on their way."""


class ConnectionOwner(Protocol):
    """Who ends connections for the guard."""

    def has_read_all(self) -> bool:
        """Whether everything that peers have finished sending has been read."""

    def disconnect(self, flooding: bool) -> int:
        """Hang up on the silent, and on the flooding if so told; return how many that were."""

    def rebind(self) -> bool:
        """Hang up on everybody where what waits is far too large; return whether that was somewhere."""

    def disconnect_subscribers(self) -> None:
        """Hang up on all who subscribe to events: they never say anything that the broker would hear."""


class MemoryGuard:
    """Judges the size of this process against what its owner knows of.

    ``measure`` returns bytes, or None for unknown.
    """

    def __init__(
        self, room: int, owner: ConnectionOwner, measure: Callable[[], int | None] | None = None
    ) -> None:
        self._room = room
        self._owner = owner
        self._measure = measure or resident_bytes
        self._first = self._start = self._measure()
        self._most = 0
        self._return_at = self._quiet_at = math.inf
        self.look_at = 0.0
        """When ``look`` is due."""

    def look(self, explained: int, now: float) -> None:
        """Hang up on somebody if the process is larger than ``explained`` bytes, now or ever, can be the
        reason for."""
        self.look_at = now + LOOK_S
        if self._start is None or self._first is None:
            return
        if now >= min(self._return_at, self._quiet_at):
            self._return_at = math.inf
            give_back()
        self._most = max(self._most, explained)
        size = self._measure() or 0
        excess = size - (self._start + self._most + self._room)
        if excess > 0:
            self._act(excess, now)
        if now >= self._quiet_at:
            self._quiet_at = math.inf
            if excess > 0:  # Nobody is here who could be the reason: it is fragmentation, and counts as ours.
                self._start = min(max(self._start, size - self._most), self._first + self._room)
        self.look_at = now + min(LOOK_S, max(SOON_S, -excess / FASTEST))

    def _act(self, excess: int, now: float) -> None:
        far_too_large = excess > self._room
        sure = far_too_large or self._owner.has_read_all()
        acted = far_too_large and self._owner.rebind()
        if not acted and not self._owner.disconnect(flooding=sure):
            if not sure or self._quiet_at < math.inf:
                return  # it may be what was not read yet; or all have been hung up on, and it takes its time
            self._owner.disconnect_subscribers()
        self._return_at = min(self._return_at, now + RETURN_S)
        self._quiet_at = now + QUIET_S


def resident_bytes() -> int | None:
    """Return how much memory this process occupies (outside Linux: has at most occupied), or None."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass  # no Linux
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Give freed memory back to the system, where the C library can (glibc)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        pass  # another C library; it keeps it, or has given it back already
