"""Deadlines for very many tasks: arming, disarming and expiring each cost the same for ten as for a million.

A timer wheel without the wheel: deadlines are rounded up to a tick and kept in one dictionary of ids per
tick. A deadline may therefore be noticed up to ``tick_s`` late, never early.

Source: Varghese and Lauck, "Hashed and hierarchical timing wheels" (1987), scheme 6; a heap of the ticks in
use takes the place of the wheel's moving hand.
"""

from __future__ import annotations

import heapq
from math import ceil


class Deadlines:
    """Named deadlines on any monotonic clock, in seconds."""

    def __init__(self, tick_s: float = 0.05) -> None:
        self._tick_s = tick_s
        self._ticks: dict[int, dict[bytes, None]] = {}
        self._order: list[int] = []

    def arm(self, name: bytes, at: float) -> int:
        """Arm a deadline and return its tick, which ``disarm`` needs."""
        tick = ceil(at / self._tick_s)
        names = self._ticks.get(tick)
        if names is None:
            names = self._ticks[tick] = {}
            heapq.heappush(self._order, tick)
        names[name] = None
        return tick

    def disarm(self, name: bytes, tick: int) -> None:
        """Disarm a deadline. Unknown names are ignored: it may just have expired."""
        names = self._ticks.get(tick)
        if names is not None:
            names.pop(name, None)
            if not names:
                names.clear()  # gives its memory back; each tick of an hour has one

    def armed(self, name: bytes, tick: int) -> bool:
        """Return whether this deadline is still armed."""
        return name in self._ticks.get(tick, ())

    def expire(self, now: float) -> list[bytes]:
        """Remove and return all names whose deadline has passed, earliest tick first."""
        expired: list[bytes] = []
        while self._order and self._order[0] * self._tick_s <= now:
            expired += self._ticks.pop(heapq.heappop(self._order))
        return expired

    def next_deadline(self) -> float | None:
        """Return the earliest instant at which ``expire`` has something to do, or None."""
        while self._order and not self._ticks[self._order[0]]:
            del self._ticks[heapq.heappop(self._order)]
        return self._order[0] * self._tick_s if self._order else None
