"""The network of a simulated cluster: the sockets of its processes, and what may be done to its links.

A *socket* is a process's end of a link: it connects, connects again when a connection breaks, and keeps
messages until then, as ZeroMQ does. What a connection does with a message stands in ``connection.py``.

With ``wire`` every envelope is encoded to its bytes and decoded again on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from labkit.core.protocol import messages as m
from labkit.core.protocol.wire import decode, envelopes
from labkit.simulation.connection import BrokerEnd, Connection, Envelope, Link, Pipe
from labkit.simulation.loop import Loop

RECONNECT_S: Final = 0.1
SOCKET_HOLDS: Final = 1000
"""Turns' messages that a socket without a connection keeps; more are dropped, as the shells do."""

_WITH_FRAMES: Final = (m.Submit, m.Task, m.Done, m.Result)


class Socket:
    """A process's end: dials until it is connected, and again whenever the connection breaks."""

    def __init__(
        self, network: Network, link: Link, receive: Callable[[Envelope], None], may_send: frozenset[type]
    ) -> None:
        self._network = network
        self.link = link
        self.receive = receive
        self.may_send = may_send  # the kinds of message that this process may send
        self.connection: Connection | None = None
        self.frozen = False
        self._waiting: deque[Sequence[m.Message]] = deque()
        self._closed = False
        self._dial(2 * link.latency_s)

    @property
    def is_half_open(self) -> bool:
        """Whether its connection is broken and it has not learned of it: only silence will show."""
        connection = self.connection
        return connection is not None and (connection.is_broken or not connection.broker_open)

    def send(self, messages: Sequence[m.Message]) -> None:
        """Send the messages of one turn now, or as soon as there is a connection."""
        if self.connection is not None and self.connection.peer_open:
            self._network.transmit(self.connection.up, messages, self.may_send)
        elif len(self._waiting) < SOCKET_HOLDS:
            self._waiting.append(messages)

    def _dial(self, delay_s: float) -> None:
        self._network.loop.after(delay_s, self._connect)

    def _connect(self) -> None:
        if self._closed:
            return
        if self.frozen or self.link.cut or not self._network.broker.accepts:
            self._dial(RECONNECT_S * (1 + self._network.random.random()))
            return
        self.connection = self._network.connect(self)
        while self._waiting:
            self.send(self._waiting.popleft())

    def broken(self, connection: Connection) -> None:
        """The connection is gone, and this process did not close it."""
        if connection is self.connection:
            self.connection = None
            self._dial(RECONNECT_S)

    def close(self, lost: int) -> None:
        """Close for good; the last ``lost`` envelopes are lost, and all that waits for a connection."""
        self._closed = True
        self._waiting.clear()
        if self.connection is not None:
            self.connection.close_by_peer(lost)
            self.connection = None


class Network:
    """All links, and the broker's end of them."""

    def __init__(self, loop: Loop, random: Random, broker: BrokerEnd, wire: bool) -> None:
        self.loop = loop
        self.random = random
        self.broker = broker
        self.wire = wire
        self._routes = 0

    def connect(self, socket: Socket) -> Connection:
        """Open a connection; the broker's end must accept it."""
        self._routes += 1
        connection = Connection(self.loop, self.random, self.broker, self._routes, socket)
        self.broker.opened(connection)
        return connection

    def transmit(self, pipe: Pipe, messages: Sequence[m.Message], allowed: frozenset[type]) -> None:
        """Put messages into a pipe in as few envelopes as may be, as objects or by way of their bytes."""
        for envelope in self._by_way_of_bytes(messages, allowed) if self.wire else _enveloped(messages):
            pipe.send(envelope)

    def _by_way_of_bytes(self, messages: Sequence[m.Message], allowed: frozenset[type]) -> Iterator[Envelope]:
        for envelope, frames in envelopes(messages):
            size = sum(map(m.frame_size, frames))
            yield Envelope(decode(envelope, frames, allowed), size)

    def cut(self, link: Link, up: bool, down: bool) -> None:
        """Cut a link: nothing passes that way any more, and no end learns of it."""
        link.cut_up, link.cut_down = up, down
        for connection in link.connections:
            connection.up.blocked, connection.down.blocked = up, down

    def mend(self, link: Link, keep: bool) -> None:
        """Mend a link. With ``keep`` what it swallowed arrives now, otherwise its connections have broken."""
        link.cut_up = link.cut_down = False
        link.mended_at = self.loop.now
        for connection in list(link.connections):
            if keep:
                connection.up.release()
                connection.down.release()
            else:
                connection.break_down()


def _enveloped(messages: Sequence[m.Message]) -> Iterator[Envelope]:
    """Yield envelopes as ``wire.envelopes`` does: a message with frames alone, the others together.

    Their size has no bound here: a turn's records without frames are far smaller than one envelope may be.
    """
    shared: list[m.Message] = []
    for message in messages:
        if isinstance(message, _WITH_FRAMES) and message.payload.frames:
            if shared:
                yield Envelope(shared)
                shared = []
            yield Envelope((message,), message.payload.size)
        else:
            shared.append(message)
    if shared:
        yield Envelope(shared)
