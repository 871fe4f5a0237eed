"""A network that delays, stalls and breaks, but never reorders and never invents: TCP as ZeroMQ uses it.

* A *link* is the cable between one process and the broker's host: latency, speed, and whether it is cut, one
  way or both. A *connection* runs over a link and has a *pipe* each way. A *socket* is a process's end of it
  all: it dials, dials again when a connection breaks, and keeps what is to be sent meanwhile, as ZeroMQ does.
* Messages in one pipe arrive in order. What is in a pipe is lost only when its connection breaks.
* A cut link swallows everything and tells nobody. When it is mended, what it swallowed arrives late (TCP sent
  it again) or the connection turns out to be broken; the seed decides.
* Whoever ends a connection is not seen to do so before what it had sent has arrived. A process that was
  killed may lose the last of it.

With ``wire`` every message is encoded to its bytes and decoded again on the way.

Source: the fault model of Maelstrom's and FoundationDB's simulated networks, reduced to what TCP leaves
possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from labkit.core.protocol import messages as m
from labkit.core.protocol.wire import decode, envelopes
from labkit.simulation.loop import Loop

RECONNECT_S: Final = 0.1
SOCKET_HOLDS: Final = 1000
"""Messages that a socket without a connection keeps; more are dropped, as the shells do."""
USUAL_BYTES_PER_S: Final = 200e6
CLOSED: Final = object()
"""What arrives when the other end has closed the connection."""

_WITH_PAYLOAD: Final = frozenset({m.Task, m.Done, m.Submit, m.Result})


class BrokerEnd(Protocol):
    """What the network needs of the broker's host."""

    @property
    def accepts(self) -> bool:
        """Whether a process is there that answers a new connection."""

    def opened(self, connection: Connection) -> None:
        """A connection stands."""

    def arrived(self, connection: Connection, message: m.Message) -> None:
        """A message came."""

    def closed(self, connection: Connection) -> None:
        """The other end closed it, or it broke."""


class Link:
    """The cable of one process, or of one process after another on the same host."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.jitter_s = latency_s / 2
        self.bytes_per_s = USUAL_BYTES_PER_S
        self.cut_up = False
        self.cut_down = False
        self.mended_at = 0.0
        self.quick_since = 0.0  # neither slow nor fooling its process
        self.connections: list[Connection] = []

    @property
    def cut(self) -> bool:
        """Whether it is cut at least one way: then no new connection can be made."""
        return self.cut_up or self.cut_down


class Pipe:
    """One direction of a connection."""

    __slots__ = (
        "_arrivals",
        "_link",
        "_loop",
        "_random",
        "blocked",
        "held",
        "in_flight",
        "lost_from",
        "receive",
        "sent",
    )

    def __init__(self, loop: Loop, random: Random, link: Link, receive: Callable[[Any], None]) -> None:
        self._loop = loop
        self._random = random
        self._link = link
        self._arrivals = 0.0  # when the last message sent so far will arrive
        self.receive = receive
        self.blocked = False
        self.held: list[tuple[Any, int]] = []
        self.sent = 0
        self.in_flight = 0
        self.lost_from = 1 << 60  # the number of the first message that will never arrive

    def send(self, item: Any) -> None:
        """Put a message (or ``CLOSED``) in; it arrives later, after all that was put in before."""
        loop, link = self._loop, self._link
        at = loop.now + link.latency_s + link.jitter_s * self._random.random()
        if at < self._arrivals:
            at = self._arrivals
        if type(item) in _WITH_PAYLOAD:
            at += item.payload.size / link.bytes_per_s
        self._arrivals = at
        self.in_flight += 1
        loop.at(at, self._arrive, item, self.sent)
        self.sent += 1

    def _arrive(self, item: Any, number: int) -> None:
        if self.blocked:
            self.held.append((item, number))
            return
        self.in_flight -= 1
        if number < self.lost_from or item is CLOSED:
            self.receive(item)

    def release(self) -> None:
        """Deliver what was held back."""
        self.blocked = False
        held, self.held = self.held, []
        for item, number in held:
            self._arrive(item, number)

    def lose(self, last: int) -> None:
        """Lose the ``last`` messages that are on the way; 0 loses none."""
        self.lost_from = min(self.lost_from, self.sent - last)

    def lose_all(self) -> None:
        """Lose everything that is on the way, and whatever will be sent."""
        self.lost_from = 0


class Connection:
    """One TCP connection. ``route`` names it at the broker and is never used again."""

    def __init__(self, network: Network, route: int, socket: Socket) -> None:
        self._network = network
        self.route = route
        self.socket = socket
        self.link = socket.link
        self.of_worker = socket.allowed is m.FROM_WORKER
        self.peer_open = True
        self.broker_open = True
        self.is_broken = False  # under its ends, whether they have learned of it or not
        self.up = Pipe(network.loop, network.random, self.link, self._at_broker)
        self.down = Pipe(network.loop, network.random, self.link, self._at_peer)
        self.last_arrival = network.loop.now
        self.last_word = float("-inf")  # to open it is no word
        self.link.connections.append(self)

    @property
    def quiet(self) -> bool:
        """Whether it stands and nothing is on the way."""
        return self.peer_open and self.broker_open and not self.up.in_flight and not self.down.in_flight

    def _at_broker(self, item: Any) -> None:
        if not self.broker_open:
            return
        if item is CLOSED:
            self.broker_open = False
            self._forget_if_over()
            self._network.broker.closed(self)
        else:
            self.last_arrival = self.last_word = self._network.loop.now
            self._network.broker.arrived(self, item)

    def _at_peer(self, item: Any) -> None:
        if not self.peer_open:
            return
        if item is CLOSED:
            self.peer_open = False
            self._forget_if_over()
            self.socket.broken(self)
        else:
            self.socket.receive(item)

    def _forget_if_over(self) -> None:
        if not self.peer_open and not self.broker_open and self in self.link.connections:
            self.link.connections.remove(self)

    def close_by_peer(self, lost: int) -> None:
        """The process closes, or its kernel does after its death; its last ``lost`` messages never leave."""
        if self.peer_open:
            self.peer_open = False
            self.up.lose(lost)
            self.up.send(CLOSED)
            self._forget_if_over()

    def close_by_broker(self, lost: int) -> None:
        """The broker closes, or its kernel does after its death."""
        if self.broker_open:
            self.broker_open = False
            self.down.lose(lost)
            self.down.send(CLOSED)
            self._forget_if_over()

    def break_down(self, broker_learns: bool = True, peer_learns: bool = True) -> None:
        """The connection breaks under two living ends; what is on the way is lost.

        An end that does not learn of it goes on talking to nobody (a half-open connection); to one that does,
        the news comes after all that was on the way.
        """
        self.is_broken = True
        for pipe, learns in (
            (self.up, self.broker_open and broker_learns),
            (self.down, self.peer_open and peer_learns),
        ):
            pipe.lose_all()
            pipe.release()
            if learns:
                pipe.send(CLOSED)


class Socket:
    """A process's end: dials until it is connected, and again whenever the connection breaks."""

    def __init__(
        self, network: Network, link: Link, receive: Callable[[m.Message], None], allowed: frozenset[type]
    ) -> None:
        self._network = network
        self.link = link
        self.receive = receive
        self.allowed = allowed  # the kinds of message that this process may send
        self.connection: Connection | None = None
        self.frozen = False
        self._waiting: deque[m.Message] = deque()
        self._closed = False
        self._dial(2 * link.latency_s)

    @property
    def fooled(self) -> bool:
        """Whether it takes a connection for whole that is not, any more: only silence will tell."""
        connection = self.connection
        return connection is not None and (connection.is_broken or not connection.broker_open)

    def send(self, message: m.Message) -> None:
        """Send a message now, or as soon as there is a connection."""
        if self.connection is not None and self.connection.peer_open:
            self._network.transmit(self.connection.up, message, self.allowed)
        elif len(self._waiting) < SOCKET_HOLDS:
            self._waiting.append(message)

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
        """The connection is gone, and not by this process's wish."""
        if connection is self.connection:
            self.connection = None
            self._dial(RECONNECT_S)

    def close(self, lost: int) -> None:
        """Close for good; the last ``lost`` messages are lost, and all that waits for a connection."""
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
        """Open a connection; the broker's end must be willing."""
        self._routes += 1
        connection = Connection(self, self._routes, socket)
        self.broker.opened(connection)
        return connection

    def transmit(self, pipe: Pipe, message: m.Message, allowed: frozenset[type]) -> None:
        """Put a message into a pipe, as an object or by way of its bytes."""
        if not self.wire:
            pipe.send(message)
            return
        for envelope, frames in envelopes([message]):
            for decoded in decode(envelope, frames, allowed):
                pipe.send(decoded)

    def cut(self, link: Link, up: bool, down: bool) -> None:
        """Cut a link: nothing passes any more that way, and nobody is told."""
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
