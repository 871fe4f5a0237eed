"""The latest events of a cluster with their numbers, so that a reader can resume where it stopped. Pure.

An event's id is ``<run>-<number>``. The run is the epoch of the history's first broker, and the number counts
the history's events from 1. A browser that comes back sends the last id that it has seen (``Last-Event-ID``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from labkit.core.history import Event


class Numbered(NamedTuple):
    """One event and its number in the history."""

    number: int
    event: Event


class Resumed(NamedTuple):
    """What a reader gets that comes back: how many events are no longer here, and those that are."""

    missing: int
    events: list[Numbered]


class EventRing:
    """The last ``most`` events; see the module's head."""

    def __init__(self, most: int = 20_000) -> None:
        self.run = ""
        self.latest = 0
        """The number of the latest event."""
        self._events: deque[Numbered] = deque(maxlen=most)

    def extend(self, events: Iterable[Event]) -> list[Numbered]:
        """Take in events, in their order; return them with their numbers."""
        new = []
        for event in events:
            if not self.run:
                self.run = str(event.detail.get("epoch") or f"{event.at:.0f}")
            self.latest += 1
            new.append(Numbered(self.latest, event))
        self._events.extend(new)
        return new

    def id_of(self, number: int) -> str:
        """Return the id of the event with this number."""
        return f"{self.run}-{number}"

    def after(self, number: int) -> Resumed:
        """Return what came after the event with this number."""
        first = self._events[0].number if self._events else self.latest + 1
        missing = max(0, first - number - 1)
        return Resumed(missing, [each for each in self._events if each.number > number])

    def resume(self, last_id: str) -> Resumed:
        """Return what a reader lacks that has seen ``last_id``; without one it gets what comes from now on.

        An id of another run, or one that is no id, is from another history: the reader gets all that is here.
        """
        if not last_id:
            return Resumed(0, [])
        found = re.fullmatch(r"(.+)-(\d{1,18})", last_id)
        if found is None or found[1] != self.run or int(found[2]) > self.latest:
            return self.after(0)
        return self.after(int(found[2]))


def kinds_of(text: str, known: Sequence[str]) -> frozenset[str]:
    """Return the kinds in a comma-separated list (empty: all). ValueError names those that are not known."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    if unknown := sorted(names - set(known)):
        raise ValueError(", ".join(unknown))
    return frozenset(names or known)
