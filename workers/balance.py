"""A worker's balance in its log: a line a second while there is work, and none while it is idle.

    worker-1: 12 done in 1.0 s, 340 in all (edges 12, sharpen 12)

A task costs nothing here: the leader compares counters when it looks at the clock anyway.
"""

from __future__ import annotations

import logging

from labkit.imaging import applied

log = logging.getLogger("labkit.worker")

EVERY_S = 1.0


class Balance:
    """See the module's head. ``done`` and ``failed`` are the attempts since the process began."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = 0
        self._failed = 0
        self._filters = applied.counts()
        self._since: float | None = None
        """When the present second of work began; None while the worker is idle."""

    def look(self, done: int, failed: int, computing: int, now: float) -> None:
        """Write the line if a second of work is over. ``computing``: attempts that the worker has now."""
        works = computing > 0 or done > self._done
        if self._since is None:
            if works:
                self._since = now
        elif now - self._since >= EVERY_S:
            if works:
                self._write(done, failed, now - self._since)
            self._since = now if works else None

    def end(self, done: int, failed: int, now: float) -> None:
        """Write what no line has shown yet: the worker is about to leave."""
        if done > self._done:
            self._write(done, failed, now - (now if self._since is None else self._since))

    def _write(self, done: int, failed: int, seconds: float) -> None:
        now_applied = applied.counts()
        filters = now_applied - self._filters
        log.info(
            "%s: %d done in %.1f s, %d in all%s%s",
            self._name,
            done - self._done,
            seconds,
            done,
            f"; {failed - self._failed} failed" if failed > self._failed else "",
            f" ({', '.join(f'{name} {n}' for name, n in sorted(filters.items()))})" if filters else "",
        )
        self._done, self._failed, self._filters = done, failed, now_applied
