"""The events of a cluster as they happen: a subscription to the broker's third socket.

``EventStream`` yields the broker's batches of events, in order. It is for programs that show a running
cluster; the complete history is in the run folder's ``events.jsonl``.

* A subscription begins in the middle: events published before it are not repeated.
* Batches are numbered. A reader that is too slow misses some; a ``gap`` event then gives the number of
  missing events.
* A new broker counts from the beginning. The stream detects that by itself; the first event of such a broker
  is ``broker_started``.

A stream belongs to one thread.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import zmq

from labkit.core.errors import ProtocolError
from labkit.core.history import BROKER_STARTED, GAP, Event, decode_event
from labkit.security.credentials import Credentials
from labkit.support import descriptors
from labkit.support.waker import Waker
from labkit.transport import sockets
from labkit.transport.handshake_monitor import HandshakeMonitor, access_denied
from labkit.transport.poller import Poller, Socket

_NUMBER = struct.Struct("!Q")
_IDLE_S = 60.0


def weight(event: Event) -> int:
    """Return how many events this one stands for: more than one for a gap."""
    return int(event.detail["missing"]) if event.kind == GAP else 1


class EventStream:
    """A subscription to the events at ``address`` (tcp://127.0.0.1:5557). See the module's head.

    Raises InvalidInput for a malformed address, TooManyOpenFiles if this process cannot connect.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        sockets.check_address(address)
        self.address = address
        self._credentials = credentials
        self._expected: int | None = None
        self._closed = True  # until everything is open
        with descriptors.named(), ExitStack() as undo:
            self._context = sockets.new_context()
            undo.callback(self._context.term)
            self._socket = sockets.subscriber(self._context, credentials)
            undo.callback(self._socket.close, linger=0)
            self._monitor = HandshakeMonitor(self._socket, address, credentials)
            undo.callback(self._monitor.close)
            self._poller = Poller()
            undo.callback(self._poller.close)
            self._poller.add(self._socket)
            self._poller.add(self._monitor.socket, often=False)
            self._socket.connect(address)
            undo.pop_all()
        self._closed = False

    def recv(self, timeout_s: float) -> list[Event]:
        """Return the next batch of events; empty if none comes within ``timeout_s``.

        Raises ``AccessDenied`` if the broker refuses us.
        """
        ends_at = time.monotonic() + timeout_s
        while not self._closed:
            try:
                topic, lines = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                pass
            except ValueError:
                continue  # not two frames: not from a broker
            else:
                if batch := self._batch(topic, lines):
                    return batch
                continue
            wait_s = ends_at - time.monotonic()
            if wait_s <= 0:
                break
            self._check_access(self._poller.wait(wait_s))
        return []

    def __iter__(self) -> Iterator[list[Event]]:
        """Yield batch after batch until the stream is closed."""
        while not self._closed:
            if batch := self.recv(_IDLE_S):
                yield batch

    def close(self) -> None:
        """End the subscription."""
        if self._closed:
            return
        self._closed = True
        self._poller.close()
        self._monitor.close()
        self._socket.close(linger=0)
        self._context.term()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_access(self, ready: list[Socket | Waker]) -> None:
        if self._monitor.socket in ready and self._monitor.read():
            raise access_denied(self.address, self._credentials, self._monitor.denial)

    def _batch(self, topic: bytes, lines: bytes) -> list[Event]:
        """Return the events of one message, after a gap event if events are missing before them."""
        try:
            (number,) = _NUMBER.unpack(topic[len(sockets.EVENT_TOPIC) :])
            events = [decode_event(line) for line in lines.decode("ascii").splitlines()]
        except (struct.error, UnicodeDecodeError, ProtocolError):
            return []  # the missing number will show as a gap
        if not events:
            return []
        missing = self._missing_before(number, events[0])
        self._expected = number + sum(map(weight, events))
        if missing:
            events.insert(0, Event(events[0].at, GAP, detail={"missing": missing}))
        return events

    def _missing_before(self, number: int, first: Event) -> int:
        expected = self._expected
        if expected is None or first.kind == BROKER_STARTED:
            return 0  # the start of the subscription, or of a new broker's count
        if number < expected:
            return number  # a new broker whose first events were missed
        return number - expected
