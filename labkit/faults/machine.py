"""How much time the machine took from the cluster. It tells a slow machine from a broken promise.

A thread samples twenty times a second and adds up the larger of two times:

* on Linux, how long the threads of the cluster's processes were ready to run and had no processor
  (`labkit.support.processor_waits`);
* everywhere, how late the sampling thread itself woke up.

The first is a sum over processes, because a case measures a chain of them: the broker notices, a worker
computes, a client receives the result.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Self

from labkit.support.processor_waits import waited_s

SAMPLE_EVERY_S = 0.05


class Machine:
    """Samples while it is open. ``pids`` returns the processes that count at the moment."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._waited: dict[int, float] = {}  # thread -> seconds without a processor, as last read
        self._at: list[float] = [time.monotonic()]
        self._lost: list[float] = [0.0]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="labkit-machine", daemon=True)

    def __enter__(self) -> Self:
        self._waits()  # what they waited before does not count
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def lost_s(self, since: float | None = None, until: float | None = None) -> float:
        """Return the time lost between two instants of ``time.monotonic``; by default, all of it."""
        at, lost = self._at[:], self._lost[: len(self._at)]
        first = 0 if since is None else max(0, bisect_right(at, since) - 1)
        last = len(lost) - 1 if until is None else min(len(lost) - 1, bisect_left(at, until))
        return max(0.0, lost[last] - lost[first])

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            now = time.monotonic()
            late_s = max(0.0, now - self._at[-1] - SAMPLE_EVERY_S)
            self._lost.append(self._lost[-1] + max(late_s, self._waits()))
            self._at.append(now)  # last: lost_s reads as many losses as there are instants

    def _waits(self) -> float:
        """Return how long the processes' threads have waited for a processor since the last call."""
        now: dict[int, float] = {}
        for pid in self._pids():
            now.update(waited_s(pid))
        waits = sum(waited - self._waited.get(thread, 0.0) for thread, waited in now.items())
        self._waited = now
        return waits
