"""The latest events of a cluster with their numbers, so that a reader can resume where it stopped. Pure.

An event's id is ``<run>-<number>``. The run is the epoch of the history's first broker, and the number counts
the history's events from 1. A browser that comes back sends the last id that it has seen (``Last-Event-ID``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from labkit.core.history import Event, encode_event


class Numbered:
    """One event and its number in the history."""

    __slots__ = ("_sent", "event", "number")

    def __init__(self, number: int, event: Event) -> None:
        self.number = number
        self.event = event
        self._sent: bytes | None = None

    def as_sent(self, run: str) -> bytes:
        """Return it as a server-sent event: encoded once, however many readers there are."""
        if self._sent is None:
            text = f"id: {run}-{self.number}\r\nevent: {self.event.kind}\r\ndata: {encode_event(self.event)}"
            self._sent = f"{text}\r\n\r\n".encode()
        return self._sent


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
