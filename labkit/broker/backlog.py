"""Messages that wait for slow readers, bounded in bytes for each peer.

They wait in two places:

* *Here.* When libzmq takes no more messages for a peer, they are kept here in order and tried again each
  turn. Beyond ``MAX_BACKLOG_BYTES`` nothing is kept, and the broker treats the peer as gone.
* *In libzmq.* It bounds the number of messages, not their bytes. So the bytes of each large message are
  counted here until it has left. While ``MAX_LEAVING_BYTES`` wait there for one peer, no further large one is
  sent to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from labkit.core.protocol import messages as m

LARGE_BYTES = 256 << 10
"""Larger messages are tracked until they have left libzmq."""
MAX_LEAVING_BYTES = 64 << 20
"""Bytes of large messages that may wait in libzmq for one peer."""
MAX_BACKLOG_BYTES = 256 << 20
"""Bytes that may wait here for one peer; each message also counts ``PLACE_BYTES`` for its place."""
PLACE_BYTES = 256

Kept = tuple[bytes, tuple[Any, ...]]
"""An envelope and its payload frames."""


class Backlog:
    """The messages that wait for the peers of one socket, by route."""

    def __init__(self) -> None:
        self._kept: dict[bytes, deque[Kept]] = {}
        self._kept_bytes: dict[bytes, int] = {}
        self._leaving: dict[bytes, deque[tuple[zmq.MessageTracker, int]]] = {}

    def __bool__(self) -> bool:
        """Whether any message is kept here, to be tried again."""
        return bool(self._kept)

    def __contains__(self, route: bytes) -> bool:
        """Whether messages are kept here for this peer: new ones must wait behind them."""
        return route in self._kept

    @property
    def size(self) -> int:
        """How many bytes wait, here and in libzmq."""
        for waiting in self._leaving.values():
            _drop_what_left(waiting)
        leaving = sum(size for waiting in self._leaving.values() for _tracker, size in waiting)
        return sum(self._kept_bytes.values()) + leaving

    def keep(self, route: bytes, envelope: bytes, frames: tuple[Any, ...]) -> bool:
        """Keep a message for a peer; False if too much is kept for it already."""
        size = self._kept_bytes.get(route, 0) + _weight(envelope, frames)
        if size > MAX_BACKLOG_BYTES:
            return False
        self._kept.setdefault(route, deque()).append((envelope, frames))
        self._kept_bytes[route] = size
        return True

    def retry(self, send: Callable[..., bool]) -> None:
        """Try to send the kept messages again.

        ``send(route, envelope, frames)`` returns whether the message was sent. It may ``forget`` that peer.
        """
        for route, waiting in list(self._kept.items()):
            while waiting and send(route, *waiting[0]):
                self._kept_bytes[route] -= _weight(*waiting.popleft())
            if not waiting:
                del self._kept[route], self._kept_bytes[route]

    def has_room(self, route: bytes, size: int) -> bool:
        """Return whether libzmq may take one more large message for this peer; one is always allowed."""
        leaving = self._leaving.get(route)
        if leaving:
            _drop_what_left(leaving)
        return not leaving or sum(bytes_ for _, bytes_ in leaving) + size <= MAX_LEAVING_BYTES

    def follow(self, route: bytes, tracker: zmq.MessageTracker, size: int) -> None:
        """Count a large message as waiting in libzmq until ``tracker`` is done."""
        self._leaving.setdefault(route, deque()).append((tracker, size))

    def forget(self, route: bytes, closed: bool) -> None:
        """Drop what is kept for this peer. Bytes in libzmq count until the connection is ``closed``."""
        self._kept.pop(route, None)
        self._kept_bytes.pop(route, None)
        if closed:
            self._leaving.pop(route, None)


def _drop_what_left(leaving: deque[tuple[zmq.MessageTracker, int]]) -> None:
    """Forget the large messages that have left libzmq by now."""
    while leaving and leaving[0][0].done:
        leaving.popleft()


def _weight(envelope: bytes, frames: tuple[Any, ...]) -> int:
    return PLACE_BYTES + len(envelope) + sum(map(m.frame_size, frames))
