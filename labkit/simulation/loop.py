"""A virtual clock and what is due on it: the simulator's only notion of time.

Nothing here waits. ``step`` jumps to the next thing that is due, so ten minutes of cluster life take
milliseconds, and two runs with the same calls are the same to the last digit.

Rule: things that are due at the same instant happen in the order in which they were scheduled.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeVarTuple, Unpack

Arguments = TypeVarTuple("Arguments")


class Loop:
    """``now`` in virtual seconds since the run began, and everything that is still to come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._order = 0
        self._due: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []

    def at(self, when: float, action: Callable[[Unpack[Arguments]], object], *args: *Arguments) -> None:
        """Call ``action(*args)`` at the instant ``when``; next if that has passed."""
        self._order += 1
        heapq.heappush(self._due, (when if when > self.now else self.now, self._order, action, args))

    def after(self, delay_s: float, action: Callable[[Unpack[Arguments]], object], *args: *Arguments) -> None:
        """Call ``action(*args)`` in ``delay_s`` seconds."""
        self.at(self.now + delay_s, action, *args)

    def step(self, until: float) -> bool:
        """Do the next thing; return False, with the clock at ``until``, if nothing is due before then."""
        if not self._due or self._due[0][0] > until:
            self.now = until
            return False
        self.now, _, action, args = heapq.heappop(self._due)
        self.steps += 1
        action(*args)
        return True
