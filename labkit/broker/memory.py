"""A bound for memory that the broker cannot see: who fills libzmq's buffers, and never ends a message.

Everything that has reached the broker is counted and bounded by its rules: queues, quotas, what waits for a
peer that does not read. But libzmq hands a message over only when its last frame is here, and has no limit
for their number: an authenticated peer that sends empty frames for ever, each announcing one more, fills some
thirty bytes of memory with each byte that it sends, 300 MB a second, and the broker sees nothing of it.

So the process's own size is watched. It may be what it was at the start, and what the broker ever held by its
rules (freed memory may stay with the process, so the most counts, not the present), and ``room`` more. Beyond
that, whoever has been silent for longer than a peer that beats can be is hung up on: who is in the middle of
an endless message is silent. Innocent ones among them (frozen, or in the middle of a large result) connect
again.

::

    as usual ──larger than known──► the silent are hung up on ──RETURN_S──► freed memory is given back
       ▲                                      ▲                                       │
       │                                      └──── still too large, and again ───────┤
       └───────────── nobody is silent for QUIET_S: what is left is not theirs ◄──────┘

Where the size of a process cannot be read (Windows), there is no such bound.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Callable

LOOK_S = 0.2
"""How often the process's size is looked at: at the speed of a bomb, some 60 MB."""
RETURN_S = 0.5
"""How long connections that were hung up on may take to end, before freed memory is given back."""
QUIET_S = 3.0
SILENT_S = 1.0
"""Whoever beats is heard twice in this time."""
TASK_BYTES = 3_000
"""What an open task costs beside its payload: its records, its place in queues, its events on their way."""


class MemoryGuard:
    """Judges the size of this process against what its owner knows of.

    ``hang_up`` ends the connections of the silent, ``silent`` counts them. ``measure`` returns bytes, or None
    for unknown.
    """

    def __init__(
        self, room: int, hang_up: Callable[[], None], silent: Callable[[], int],
        measure: Callable[[], int | None] | None = None,
    ) -> None:  # fmt: skip
        self._room = room
        self._hang_up = hang_up
        self._silent = silent
        self._measure = measure or resident_bytes
        self._first = self._start = self._measure()
        self._most = 0
        self._return_at = self._quiet_at = math.inf
        self.look_at = 0.0
        """When ``look`` is due."""

    def look(self, explained: int, now: float) -> None:
        """Hang up on the silent if the process is larger than ``explained`` bytes, now or ever, can be the
        reason for."""
        self.look_at = now + LOOK_S
        if self._start is None or self._first is None:
            return
        if now >= self._return_at:
            self._return_at = math.inf
            give_back()
        self._most = max(self._most, explained)
        size = self._measure() or 0
        if now >= self._quiet_at and self._silent() == 0:
            # Nobody is here who could be the reason: it is fragmentation. Within bounds, it counts as ours.
            self._quiet_at = math.inf
            self._start = min(max(self._start, size - self._most), self._first + self._room)
        just_done = self._quiet_at < math.inf and self._silent() == 0
        if size > self._start + self._most + self._room and not just_done:
            self._hang_up()
            self._return_at = now + RETURN_S
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
