"""One TCP connection as ZeroMQ uses it: it delays, stalls and breaks, but never reorders and never invents.

* A *link* is the cable between one process and the broker's host: latency, speed, and whether it is cut, one
  way or both. A *connection* runs over a link and has a *pipe* each way.
* What is put into a pipe arrives in order. It is lost only when its connection breaks.
* Messages that one side sends to a peer in one turn share an *envelope*. They arrive together or not at all.
* A cut link swallows everything, and no end learns of it. When the link is mended, what it swallowed arrives
  late (TCP sent it again) or the connection turns out to be broken; the seed decides.
* The other end of a closed connection learns of the close after it has received what was sent before. A
  process that was killed may lose the last of what it sent.

Source: the fault model of Maelstrom's and FoundationDB's simulated networks, reduced to what TCP leaves
possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Final, NamedTuple, Protocol

from labkit.core.protocol import messages as m
from labkit.simulation.loop import Loop

USUAL_BYTES_PER_S: Final = 200e6


class Envelope(NamedTuple):
    """What travels as a whole: some messages, and how large they are (0: too small to take any time)."""

    messages: Sequence[m.Message]
    payload_bytes: int = 0


class Closed(Enum):
    """What arrives when the other end has closed the connection."""

    CLOSED = "closed"


CLOSED: Final = Closed.CLOSED


class BrokerEnd(Protocol):
    """What a connection needs of the broker's host."""

    @property
    def accepts(self) -> bool:
        """Whether a process is there that answers a new connection."""

    def opened(self, connection: Connection) -> None:
        """A connection stands."""

    def arrived(self, connection: Connection, messages: Sequence[m.Message]) -> None:
        """The messages of one envelope came."""

    def closed(self, connection: Connection) -> None:
        """The other end closed the connection, or it broke."""


class PeerEnd(Protocol):
    """What a connection needs of the socket of a worker or client."""

    @property
    def link(self) -> Link:
        """The cable of its process."""

    @property
    def may_send(self) -> frozenset[type]:
        """The kinds of message that this process may send."""

    def receive(self, envelope: Envelope) -> None:
        """An envelope came."""

    def broken(self, connection: Connection) -> None:
        """The connection is gone, and this process did not close it."""


class Link:
    """The cable of one process, or of one process after another on the same host."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.jitter_s = latency_s / 2
        self.bytes_per_s = USUAL_BYTES_PER_S
        self.cut_up = False
        self.cut_down = False
        self.mended_at = 0.0
        self.quick_since = 0.0  # neither slow nor half-open since then
        self.connections: list[Connection] = []

    @property
    def cut(self) -> bool:
        """Whether it is cut at least one way: then no new connection can be made."""
        return self.cut_up or self.cut_down


class Pipe:
    """One direction of a connection."""

    __slots__ = (
        "_arrivals", "_link", "_loop", "_random", "blocked", "held", "in_flight", "lost_from", "receive",
        "sent",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, random: Random, link: Link, receive: Callable[[Envelope | Closed], None]
    ) -> None:
        self._loop = loop
        self._random = random
        self._link = link
        self._arrivals = 0.0  # when the last item sent so far will arrive
        self.receive = receive
        self.blocked = False
        self.held: list[tuple[Envelope | Closed, int]] = []
        self.sent = 0
        self.in_flight = 0
        self.lost_from = 1 << 60  # the number of the first item that will never arrive

    def send(self, item: Envelope | Closed) -> None:
        """Put an envelope (or ``CLOSED``) in; it arrives later, after all that was put in before."""
        loop, link = self._loop, self._link
        at = loop.now + link.latency_s + link.jitter_s * self._random.random()
        if at < self._arrivals:
            at = self._arrivals
        if item is not CLOSED:
            at += item.payload_bytes / link.bytes_per_s
        self._arrivals = at
        self.in_flight += 1
        loop.at(at, self._arrive, item, self.sent)
        self.sent += 1

    def _arrive(self, item: Envelope | Closed, number: int) -> None:
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
        """Lose the ``last`` items that are on the way; 0 loses none."""
        self.lost_from = min(self.lost_from, self.sent - last)

    def lose_all(self) -> None:
        """Lose everything that is on the way, and everything that will be sent."""
        self.lost_from = 0


class Connection:
    """One TCP connection. ``route`` names it at the broker and is never used again."""

    def __init__(self, loop: Loop, random: Random, broker: BrokerEnd, route: int, peer: PeerEnd) -> None:
        self._loop = loop
        self._broker = broker
        self._peer = peer
        self.route = route
        self.link = peer.link
        self.of_worker = peer.may_send is m.FROM_WORKER
        self.peer_open = True
        self.broker_open = True
        self.is_broken = False  # underneath, whether its ends have learned of it or not
        self.up = Pipe(loop, random, self.link, self._at_broker)
        self.down = Pipe(loop, random, self.link, self._at_peer)
        self.last_arrival = loop.now
        self.last_message = float("-inf")  # opening the connection is no message
        self.link.connections.append(self)

    @property
    def quiet(self) -> bool:
        """Whether it stands and nothing is on the way."""
        return self.peer_open and self.broker_open and not self.up.in_flight and not self.down.in_flight

    def _at_broker(self, item: Envelope | Closed) -> None:
        if not self.broker_open:
            return
        if item is CLOSED:
            self.broker_open = False
            self._forget_if_over()
            self._broker.closed(self)
        else:
            self.last_arrival = self.last_message = self._loop.now
            self._broker.arrived(self, item.messages)

    def _at_peer(self, item: Envelope | Closed) -> None:
        if not self.peer_open:
            return
        if item is CLOSED:
            self.peer_open = False
            self._forget_if_over()
            self._peer.broken(self)
        else:
            self._peer.receive(item)

    def _forget_if_over(self) -> None:
        if not self.peer_open and not self.broker_open and self in self.link.connections:
            self.link.connections.remove(self)

    def close_by_peer(self, lost: int) -> None:
        """The process closes it, or its kernel does after its death; its last ``lost`` items never leave."""
        if self.peer_open:
            self.peer_open = False
            self.up.lose(lost)
            self.up.send(CLOSED)
            self._forget_if_over()

    def close_by_broker(self, lost: int) -> None:
        """The broker closes it, or its kernel does after its death."""
        if self.broker_open:
            self.broker_open = False
            self.down.lose(lost)
            self.down.send(CLOSED)
            self._forget_if_over()

    def break_down(self, broker_learns: bool = True, peer_learns: bool = True) -> None:
        """Break it under two living ends; what is on the way is lost.

        An end that does not learn of the break goes on sending into nothing (a half-open connection). An end
        that does learn of it has first received all that was on the way.
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
