"""The latest events of a cluster with their numbers, so that a reader can resume where it stopped. Pure.

An event's id is ``<run>-<number>``. The run is the epoch of the history's first broker, and the number counts
the history's events from 1. A browser that comes back sends the last id that it has seen (``Last-Event-ID``).
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from labkit.core.history import Event, encode_events


class Numbered(NamedTuple):
    """One event: its number in the history, its kind, and its bytes as a server-sent event.

    It is encoded once, however many readers there are. Its bytes take half the memory of the event's objects.
    """

    number: int
    kind: str
    sent: bytes


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
        events = list(events)
        if events and not self.run:
            self.run = str(events[0].detail.get("epoch") or f"{events[0].at:.0f}")
        new = []
        for event, line in zip(events, encode_events(events).split("\n"), strict=False):
            self.latest += 1
            kind = sys.intern(event.kind)
            text = f"id: {self.run}-{self.latest}\r\nevent: {kind}\r\ndata: {line}\r\n\r\n"
            new.append(Numbered(self.latest, kind, text.encode()))
        self._events.extend(new)
        return new

    def id_of(self, number: int) -> str:
        """Return the id of the event with this number."""
        return f"{self.run}-{number}"

    def after(self, number: int) -> Resumed:
        """Return what came after the event with this number."""
        first = self._events[0].number if self._events else self.latest + 1
        missing = max(0, first - number - 1)
        count = min(len(self._events), self.latest - number)  # from the end: a reader lacks the latest few
        newest = list(islice(reversed(self._events), max(0, count)))
        return Resumed(missing, newest[::-1])

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
