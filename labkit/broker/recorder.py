"""Writes the history to a file and publishes it, away from the broker's loop.

The loop hands over transitions in batches and never waits. A thread turns each batch into JSON lines once,
appends them to ``events.jsonl`` and sends the same bytes to the subscribers::

    frame 1   b"events" + number of the first event in the batch (8 bytes, big-endian)
    frame 2   JSON lines

A subscriber that finds a number missing knows that it missed events. If the disk cannot keep up, whole
batches are left out, and a ``gap`` event records how many events are missing, so that the history is never
silently incomplete. A gap uses as many numbers as events are missing.

The file is no condition for serving. While the disk refuses it, at the start or later, events are published
all the same; as soon as the disk accepts data again, a gap records what the file lacks.
"""

from __future__ import annotations

import logging
import os
import queue
import struct
import threading
from io import FileIO
from pathlib import Path

import zmq

from labkit.broker import memory
from labkit.broker.authenticator import EVENT_DOMAIN, Authenticator
from labkit.broker.connections import at_port, bound_again, disconnect, port_of, unread_bytes
from labkit.core import history as h
from labkit.core.history import Event, encode_event, encode_events
from labkit.transport.event_stream import weight
from labkit.transport.sockets import EVENT_TOPIC, acquired

log = logging.getLogger(__name__)

MAX_WAITING = 400_000
"""Events that may wait to be written."""
PUBLISH_HWM = 500
"""Batches that may wait for a slow subscriber: ten seconds, fifty megabytes at most."""
NOT_RECORDED = "the history is not recorded: %s"


class Recorder:
    """One broker's recorder. The loop's thread calls ``put``; the recorder's thread owns the PUB socket."""

    def __init__(self, authenticator: Authenticator, address: str | None, path: Path | None) -> None:
        self._authenticator = authenticator
        self._address = address
        self._batches: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._waiting = 0  # written by the loop (up) and by the thread (down, through _written)
        self._written = 0
        self._missing = 0
        self._number = 0
        self._reopen_asked = False
        self._unwritten = 0  # events that the disk refused, not yet recorded as a gap
        self._path = path
        self._file: FileIO | None = None  # also while the disk refuses to open it
        self._told_refused = False
        self._half_line = False  # the file ends in half a line, which the next write ends
        self._socket: zmq.Socket[bytes] | None = None
        self._port = 0
        if address is not None:
            self._socket = self._bind(address)
        self._thread = threading.Thread(target=self._run, name="labkit-recorder", daemon=True)
        try:
            self._begin_file()
            self._thread.start()
        except BaseException:  # no thread is left: they would stay open
            self._close()
            raise

    def put(self, events: list[Event]) -> None:
        """Accept a batch; never blocks."""
        if self._waiting - self._written > MAX_WAITING:
            self._missing += len(events)
            return
        if self._missing:
            events = [Event(events[0].at, h.GAP, detail={"missing": self._missing}), *events]
            self._missing = 0
        self._waiting += len(events)
        self._batches.put(events)

    def _bind(self, address: str) -> zmq.Socket[bytes]:
        with acquired(self._authenticator.context.socket(zmq.PUB)) as socket:
            socket.linger = 0
            socket.sndhwm = PUBLISH_HWM
            self._authenticator.guard(socket, EVENT_DOMAIN)
            socket.bind(address)
            self._port = port_of(socket)
            return socket

    def reopen(self) -> None:
        """Disconnect all subscribers before the next batch; those still admitted connect again.

        A PUB socket does not know its subscribers, so a key that is removed from the list costs all of them
        the moment of a reconnect. The numbers of the batches show them what they missed.
        """
        self._reopen_asked = True
        self._batches.put([])

    def disconnect_flooding(self) -> int:
        """Disconnect subscribers with more unread bytes than a subscription takes; return how many."""
        flooding = [each for each in at_port(self._port) if unread_bytes(each) > memory.FLOODING_BYTES]
        disconnect(flooding)
        return len(flooding)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write the batches accepted so far, for at most ``timeout_s``, and close file and socket."""
        self._batches.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._reopen_asked:
                self._reopen_asked = False
                self._bind_anew()
            if not batch:
                continue
            lines = (encode_events(batch) + "\n").encode("ascii")
            if self._file is not None or self._path is not None:
                self._write(lines, batch)
            if self._socket is not None:
                self._socket.send_multipart([EVENT_TOPIC + struct.pack("!Q", self._number), lines])
            self._number += _weight_of(batch)
            self._written += len(batch)
        self._close(linger_ms=200)

    def _close(self, linger_ms: int = 0) -> None:
        self._close_file()
        if self._socket is not None:
            self._socket.close(linger=linger_ms)

    def _bind_anew(self) -> None:
        address = self._address
        if self._socket is None or address is None:
            return
        self._socket.close(linger=0)
        try:
            self._socket = bound_again(lambda: self._bind(address))
        except zmq.ZMQError as error:
            log.error("the history is not published any more: %s: %s", address, error)
            self._socket = None

    def _begin_file(self) -> None:
        """Open the file before the first event, so that readers find it; a refusal is logged."""
        if self._path is None:
            return
        try:
            self._file = self._opened(self._path)
        except OSError as error:
            self._tell_refused(error)

    def _opened(self, path: Path) -> FileIO:
        """Open a history for appending, and note whether a killed broker has left half a line in it."""
        file = path.open("ab", buffering=0)
        try:
            if path.is_file() and path.stat().st_size:
                with path.open("rb") as written:
                    written.seek(-1, os.SEEK_END)
                    self._half_line = written.read() != b"\n"
        except OSError:
            file.close()
            raise
        return file

    def _write(self, lines: bytes, batch: list[Event]) -> None:
        """Append a batch. Refused events are recorded as a gap, as soon as the disk accepts data again."""
        if self._unwritten:
            gap = encode_event(Event(batch[0].at, h.GAP, detail={"missing": self._unwritten}))
            lines = f"{gap}\n".encode("ascii") + lines
        try:
            if self._file is None:
                assert self._path is not None
                self._file = self._opened(self._path)
            rest = memoryview(b"\n" + lines if self._half_line else lines)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._tell_refused(error)
            self._unwritten += _weight_of(batch)
            self._half_line = True  # perhaps; an empty line does no harm
        else:
            self._unwritten = 0
            self._half_line = False
            self._told_refused = False

    def _tell_refused(self, error: OSError) -> None:
        """Log that the disk refuses the history, once until it accepts data again."""
        if not self._told_refused:
            log.error(NOT_RECORDED, error)
        self._told_refused = True

    def _close_file(self) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:  # some network drives report only now that the disk is full
            self._tell_refused(error)


def _weight_of(batch: list[Event]) -> int:
    """Return how many events a batch stands for. Only its first event can be a gap."""
    return sum(map(weight, batch)) if batch[0].kind == h.GAP else len(batch)
