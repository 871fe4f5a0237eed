"""A bound for memory that the broker cannot see: libzmq's buffers for messages that never end.

Everything that has reached the broker is counted and bounded by its rules: queues, quotas, messages for slow
readers. But libzmq delivers a message only when its last frame has arrived, and sets no limit on the number
of frames. An authenticated peer that sends empty frames for ever, each announcing one more, fills some thirty
bytes of memory with each byte that it sends, 300 MB a second, and the broker sees none of it.

So the guard watches the size of the process. Allowed are its size at the start, the most that the broker ever
held by its rules (freed memory may stay with the process, so the maximum counts, not the present), and
``room`` more. The less of that is left, the sooner is the next check: even an attack that fills ``FASTEST``
bytes a second cannot use up the rest before it. Beyond the bound, the guard has peers disconnected that are
in the middle of a message that does not end:

* *Flooding* peers: more than a few heartbeats lie unread in the connection (the kernel tells how many bytes),
  and yet the peer has finished no message for ``UNFINISHED_S``. Unread bytes prove this only if the broker
  has read every finished message. If the process is too large by another ``room``, the guard no longer waits
  for that.
* *Idle* peers: they have finished no message for longer than a peer that sends heartbeats can take. This
  finds slow senders.

Innocent peers among them (frozen, or in the middle of a large result) connect again. Disconnecting does not
free one kind of memory: messages that *are* finished and have millions of frames must be read to their end.
If they make the process too large by another ``room``, everyone who uses that socket is disconnected, because
libzmq discards everything only together with the socket.

::

    normal ──too large──► disconnect flooding and idle peers ──RETURN_S──► return freed memory ──┐
      ▲                      │ there are none   ▲                                                │
      │                      ▼ of either kind   └── still too large, and there are such peers ───┤
      │         disconnect all subscribers                                                       │
      └── no such peer for QUIET_S: the rest is no peer's fault; count it as known, within ◄─────┘
          bounds

Where the size of a process cannot be read (Windows), there is no such bound.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Protocol

from labkit.support.allocator import give_back

LOOK_S = 0.2
"""Longest time between two looks at the size of the process."""
SOON_S = 0.005
"""Shortest time between two looks."""
FASTEST = 2e9
"""Bytes that an attack can fill in a second; a single libzmq thread reads all connections."""
RETURN_S = 0.5
"""Time for disconnected connections to end before freed memory is returned."""
QUIET_S = 3.0
IDLE_S = 1.0
"""A peer that sends heartbeats is heard twice in this time."""
UNFINISHED_S = 0.1
FLOODING_BYTES = 4096
"""More unread bytes than this are not just heartbeats."""
TASK_BYTES = 3_000
"""Cost of an open task beside its payload: its records, its place in queues, its pending events."""


class ConnectionOwner(Protocol):
    """The object that ends connections for the guard: the broker."""

    def has_read_all(self) -> bool:
        """Return whether every finished message has been read."""

    def disconnect(self, flooding: bool) -> int:
        """Disconnect the idle peers, and with ``flooding`` the flooding ones; return how many."""

    def rebind(self) -> bool:
        """Disconnect everyone at each socket with an oversized message; return whether there was one."""

    def disconnect_subscribers(self) -> None:
        """Disconnect all subscribers to events: the broker never sees their messages."""


class MemoryGuard:
    """Compares the size of this process with the memory that the broker can explain.

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
        """Disconnect peers if the process is larger than the most ``explained`` bytes so far account for."""
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
            if excess > 0:  # no peer can be the cause: it is fragmentation, and counts as known
                self._start = min(max(self._start, size - self._most), self._first + self._room)
        self.look_at = now + min(LOOK_S, max(SOON_S, -excess / FASTEST))

    def _act(self, excess: int, now: float) -> None:
        far_too_large = excess > self._room
        sure = far_too_large or self._owner.has_read_all()
        acted = far_too_large and self._owner.rebind()
        if not acted and not self._owner.disconnect(flooding=sure):
            if not sure or self._quiet_at < math.inf:
                return  # unread messages may explain it; or all are disconnected, and ending takes its time
            self._owner.disconnect_subscribers()
        self._return_at = min(self._return_at, now + RETURN_S)
        self._quiet_at = now + QUIET_S


def resident_bytes() -> int | None:
    """Return the bytes of memory that this process occupies (outside Linux: its peak), or None if unknown."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass  # not Linux
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
