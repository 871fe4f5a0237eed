"""Reads a broker's ``events.jsonl`` while it is being written.

Each call of ``read`` returns what is new. A line that is not finished yet stays for the next call. A line
that is no event (a broker was killed in the middle of it) becomes a gap, as in ``History.from_lines``.
"""

from __future__ import annotations

from pathlib import Path

from labkit.core.errors import ProtocolError
from labkit.core.history import GAP, Event, History, decode_event


class EventFile:
    """The events in one file, from its beginning. A file that does not exist yet has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._at = 0.0
        self._history = History()

    def skip(self) -> None:
        """Leave out all that is there by now: for whoever waits for something that is about to happen.

        A cluster that has worked for hours has a history of gigabytes.
        """
        try:
            self._offset = self._path.stat().st_size
        except FileNotFoundError:
            self._offset = 0

    def history(self) -> History:
        """Return everything so far: always the same object, brought up to date."""
        self._history.extend(self.read())
        return self._history

    def read(self) -> list[Event]:
        """Return the events that have been added since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [self._event(line) for line in whole.decode("utf-8", "replace").splitlines() if line.strip()]

    def _event(self, line: str) -> Event:
        try:
            event = decode_event(line)
        except ProtocolError:
            return Event(self._at, GAP, detail={"missing": 1})
        self._at = event.at
        return event
