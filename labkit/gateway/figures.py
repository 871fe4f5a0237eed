"""Figures over the last seconds, for the dashboard and the metrics: latencies and their percentiles. Pure."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence

from labkit.support.percentiles import percentile

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the histogram's buckets, as in Prometheus' own clients, with two more for a slow class."""


class Window:
    """Values of the last ``span_s`` seconds, at most ``most`` of them: of more, the latest."""

    def __init__(self, span_s: float = 10.0, most: int = 5_000) -> None:
        self._span_s = span_s
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, at: float, value: float) -> None:
        """Take in a value that was measured at the second ``at``; ``at`` never goes back."""
        self._values.append((at, value))

    def percentiles(self, now: float, shares: Sequence[float]) -> list[float | None]:
        """Return the percentiles of the values of the last ``span_s`` seconds; None without any."""
        while self._values and self._values[0][0] < now - self._span_s:
            self._values.popleft()
        ordered = sorted(value for _at, value in self._values)
        return [percentile(ordered, share) if ordered else None for share in shares]


class Histogram:
    """How many values fell into each bucket since the beginning, their number and their sum."""

    def __init__(self, bounds: Sequence[float] = BUCKETS_S) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Take in a value; one that equals a bound belongs below it."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return (upper end, how many values up to it), the last one "+Inf", as Prometheus wants it."""
        total, rows = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows
