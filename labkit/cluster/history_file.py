"""Reads a broker's ``events.jsonl`` while it is being written.

Each call of ``read`` returns the new events. A line that is not complete yet stays for the next call. A line
that is no event (the broker was killed while writing it) becomes a gap, as in ``History.from_lines``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labkit.core.errors import ProtocolError
from labkit.core.history import GAP, Event, History, decode_event

PIECE_BYTES = 1 << 20


class EventFile:
    """The events in one file, from its beginning. A file that does not exist yet has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._at = 0.0
        self._history = History()

    def skip(self) -> None:
        """Leave out all present events, for a caller that waits for the next ones.

        After hours of work the history of a cluster has gigabytes.
        """
        try:
            self._offset = self._path.stat().st_size
        except FileNotFoundError:
            self._offset = 0

    def history(self) -> History:
        """Return all events so far: the same object each time, brought up to date."""
        self._history.extend(self.read())
        return self._history

    def read(self) -> list[Event]:
        """Return the events that have been added since the last call."""
        return list(self.stream())

    def stream(self) -> Iterator[Event]:
        """Yield the events that have been added since the last call; take all of them.

        Only a piece of the file is in memory at a time, however much has been added.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            while new := file.read(PIECE_BYTES) + file.readline():
                whole = new[: new.rfind(b"\n") + 1]
                self._offset += len(whole)
                for line in whole.decode("utf-8", "replace").splitlines():
                    if line.strip():
                        yield self._event(line)
                if len(whole) < len(new):
                    return  # its last line is not complete yet

    def _event(self, line: str) -> Event:
        try:
            event = decode_event(line)
        except ProtocolError:
            return Event(self._at, GAP, detail={"missing": 1})
        self._at = event.at
        return event
