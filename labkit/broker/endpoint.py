"""One of the broker's two ROUTER sockets: messages in, messages out, and closed connections.

The broker has two of these, one for clients and one for workers, so that it can stop reading from a flooding
client without delaying results and heartbeats.

* *In*: at most ``budget`` messages a turn. Each is decoded here; a message that is not this protocol is
  dropped and counted. The sender gets no answer: a stranger learns nothing, and a friend's connection
  survives.
* *Out*: with ``ROUTER_MANDATORY`` libzmq reports a peer that is gone (EHOSTUNREACH) or does not read (EAGAIN,
  for too many messages; this module counts the bytes itself). Messages that cannot be sent now are kept, up
  to a bound, and tried again each turn (``labkit.broker.backlog``).
* *Closed*: the socket's monitor reports a closed connection within milliseconds, by the number of its file
  descriptor; each message carries the same number (SRCFD). A descriptor is reused after it was closed, so the
  monitor is read to its end before a new connection is entered under its number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from labkit.broker import memory
from labkit.broker.authenticator import Authenticator
from labkit.broker.backlog import LARGE_BYTES, Backlog
from labkit.broker.connections import bound_again, disconnect, port_in_use, port_of, unread_bytes
from labkit.core.errors import ProtocolError
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.transport.handshake_monitor import monitor_of
from labkit.transport.poller import Socket, readable
from labkit.transport.sockets import acquired
from labkit.transport.unix_socket import discard

RECORD_BUDGET = 10_000
"""Records read in one turn: one message may hold thousands."""
BYTE_BUDGET = 64 << 20
"""Bytes read in one turn."""
ROUTER_HWM = 256
"""Messages that may wait in libzmq for one peer, each way."""
DROP_BUDGET = 10_000
"""Surplus frames of oversized messages discarded in one turn: some ten milliseconds of work."""
MAX_SURPLUS = 10_000
"""Surplus frames after which a peer is disconnected."""


class Sent(Enum):
    """The outcome of an attempt to send a message."""

    YES = "yes"
    NO = "not now"
    GONE = "its peer is gone"


class Endpoint:
    """A bound ROUTER. ``count`` is called with the name of the counter to raise."""

    def __init__(
        self,
        authenticator: Authenticator,
        domain: str,
        host: str,
        port: int,
        allowed: frozenset[type],
        rules: Rules,
        count: Callable[[str], None],
    ) -> None:
        self._authenticator = authenticator
        self._domain = domain
        self._allowed = allowed
        self._rules = rules
        self._count = count
        self._max_bytes = rules.max_message_bytes + wire.HEADER_BYTES
        self._path: Path | None = None
        self._closed: list[bytes] = []
        self._clear()
        try:
            self.socket, self.monitor = self._bind(f"tcp://{host}:{port}")
        except zmq.ZMQError as error:
            raise port_in_use(host, port, error) from error
        self.port = port_of(self.socket)
        """The port at which it listens."""
        self._address = f"tcp://{host}:{self.port}"

    def _clear(self) -> None:
        """Forget all connections."""
        self._open: dict[int, float] = {}  # all connections: descriptor -> when it opened
        self._route_of: dict[int, bytes] = {}  # descriptor -> route
        self._known: set[bytes] = set()
        self._users: dict[bytes, str] = {}
        self._budget = 1
        self._dropping: bytes | None = None  # the sender of the message that is being discarded
        self._may_drop = 0
        self._surplus: dict[bytes, int] = {}  # route -> frames of it that were discarded
        self._backlog = Backlog()

    def _bind(self, address: str) -> tuple[Socket, Socket]:
        """Return a ROUTER bound to ``address``, and its monitor."""
        with acquired(self._authenticator.context.socket(zmq.ROUTER)) as router:
            router.linger = 0
            router.router_mandatory = True
            router.maxmsgsize = self._max_bytes
            router.sndhwm = ROUTER_HWM
            router.rcvhwm = ROUTER_HWM
            self._authenticator.guard(router, self._domain)
            events = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
            monitor = monitor_of(router, events)
            try:
                router.bind(address)
            except BaseException:
                _close(router, monitor, 0)
                raise
            return router, monitor

    def listen_also(self, path: Path) -> bool:
        """Also listen on a Unix socket; return False if that is not possible there."""
        try:
            self.socket.bind(f"ipc://{path}")
        except zmq.ZMQError:
            return False
        self._path = path
        return True

    def rebind(self) -> None:
        """Disconnect everyone and discard everything that libzmq holds, by replacing the socket.

        Innocent peers connect again. Raises ZMQError if another process takes the port in between. ``socket``
        and ``monitor`` are new afterwards; the poller must wait for these.
        """
        for route in list(self._known):
            self._forget(route)
        self.read_monitor()
        self._disconnect(list(self._open))
        self._clear()
        self.close()
        self.socket, self.monitor = bound_again(lambda: self._bind(self._address))
        if self._path is not None:
            self.listen_also(self._path)

    # --- in ---

    def receive(self, most: int) -> tuple[list[tuple[bytes, list[m.Message]]], bool]:
        """Return up to ``most`` messages as (route, records), and whether the socket was found empty.

        Finding out that no more message waits costs as much as a message. So after a turn with one message
        the socket is asked for one, and after a turn that used its whole budget for twice as many.
        """
        arrived: list[tuple[bytes, list[m.Message]]] = []
        socket, known = self.socket, self._known
        records = taken = 0
        budget = min(most, self._budget)
        max_frames, max_bytes = self._rules.max_frames, self._max_bytes
        self._may_drop = DROP_BUDGET
        if self._dropping is not None and not self._drop(self._dropping):
            return arrived, False
        for count in range(budget):
            try:
                route = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                self._budget = max(1, count)
                return arrived, True
            if route in known:
                envelope, more = socket.recv(), socket.getsockopt(zmq.RCVMORE)
            else:
                frame = socket.recv(copy=False)
                envelope, more = frame.bytes, frame.more
                self._enter(route, frame)
            frames: list[zmq.Frame] = []
            size = len(envelope)
            while more and len(frames) <= max_frames and size <= max_bytes:
                payload = socket.recv(copy=False)
                more = payload.more
                size += len(payload)
                frames.append(payload)
            if len(frames) > max_frames or size > max_bytes:
                self._count("oversized_messages")
                if more and not self._drop(route):
                    return arrived, False
                continue
            try:
                messages = wire.decode(envelope, frames, self._allowed)
            except ProtocolError:
                self._count("garbage_messages")
                continue
            arrived.append((route, messages))
            records += len(messages)
            taken += size
            if records >= RECORD_BUDGET or taken >= BYTE_BUDGET:
                break
        self._budget = min(most, 2 * budget)
        return arrived, False

    def _drop(self, route: bytes) -> bool:
        """Discard the rest of a message that is too large; return whether its end was found.

        libzmq delivers no other message, of any peer, before that end. It may be millions of frames away, so
        only some are read each turn, and a peer that sends too many is disconnected.
        """
        socket, more = self.socket, True
        before = self._may_drop
        while more and self._may_drop:
            more = socket.recv(copy=False).more
            self._may_drop -= 1
        self._dropping = route if more else None
        if route in self._known:
            surplus = self._surplus.get(route, 0)
            self._surplus[route] = surplus + before - self._may_drop
            if surplus <= MAX_SURPLUS < self._surplus[route]:
                self._disconnect([each for each, its in self._route_of.items() if its == route])
        return not more

    def _enter(self, route: bytes, frame: zmq.Frame) -> None:
        self.read_monitor()
        descriptor = int(frame.get(zmq.SRCFD))
        former = self._route_of.get(descriptor)
        if former is not None:  # the former connection had closed before this message was read
            self._forget(former)
        self._known.add(route)
        self._users[route] = str(frame.get("User-Id"))
        self._route_of[descriptor] = route

    def read_monitor(self) -> None:
        """Note which connections have opened and closed."""
        while readable(self.monitor):
            event = recv_monitor_message(self.monitor)
            descriptor = event["value"]
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._open[descriptor] = time.monotonic()
                continue
            self._open.pop(descriptor, None)
            route = self._route_of.pop(descriptor, None)
            if route is not None:
                self._forget(route)

    def user(self, route: bytes) -> str:
        """Return the peer's User-Id, which the authenticator gave it; "" if the peer is gone."""
        return self._users.get(route, "")

    def disconnect_unless(self, may_stay: Callable[[bytes], bool]) -> None:
        """Disconnect all peers whose route may not stay, and all that have sent nothing yet.

        The monitor reports when it has happened; innocent peers connect again.
        """
        self.read_monitor()
        routes = self._route_of
        self._disconnect([each for each in self._open if (r := routes.get(each)) is None or not may_stay(r)])

    def disconnect_unfinished(self, last_heard: Callable[[bytes], float], flooding: bool, now: float) -> int:
        """Disconnect the peers that may hold unexplained memory (``labkit.broker.memory``); return how many.

        These are the idle ones, and with ``flooding`` the flooding ones.
        """
        self.read_monitor()
        suspects = []
        for descriptor, since in self._open.items():
            route = self._route_of.get(descriptor)
            idle_s = now - (since if route is None else max(since, last_heard(route)))
            is_flooding = (
                flooding and idle_s > memory.UNFINISHED_S and unread_bytes(descriptor) > memory.FLOODING_BYTES
            )
            if is_flooding or idle_s > memory.IDLE_S:
                suspects.append(descriptor)
        self._disconnect(suspects)
        return len(suspects)

    def _disconnect(self, descriptors: list[int]) -> None:
        for each in descriptors:
            self._count("cut_connections")
            self._open.pop(each, None)
        disconnect(descriptors)

    @property
    def has_read_all(self) -> bool:
        """Whether every finished message has been read."""
        return not readable(self.socket)

    @property
    def is_dropping(self) -> bool:
        """Whether every message waits for the end of one that is too large."""
        return self._dropping is not None

    @property
    def held_bytes(self) -> int:
        """How many bytes wait for slow readers, here and in libzmq."""
        return self._backlog.size

    @property
    def has_closed(self) -> bool:
        """Whether ``take_closed`` would return something."""
        return bool(self._closed)

    def take_closed(self) -> list[bytes]:
        """Return the routes that closed since the last call.

        Call it when the socket has been read empty, so that the last messages are handled first.
        """
        closed, self._closed = self._closed, []
        return closed

    def _forget(self, route: bytes, closed: bool = True) -> None:
        if route in self._known:
            self._known.discard(route)
            del self._users[route]
            self._closed.append(route)
        self._backlog.forget(route, closed)
        self._surplus.pop(route, None)

    # --- out ---

    @property
    def congested(self) -> bool:
        """Whether a message waits for a slow reader."""
        return bool(self._backlog)

    def send(self, route: bytes, messages: Iterable[m.Message]) -> None:
        """Send messages to one peer, in order; those that cannot be sent now are kept and tried again."""
        for envelope, frames in wire.envelopes(messages):
            if route not in self._backlog:
                sent = self._try(route, envelope, frames)
                if sent is Sent.YES:
                    continue
                if sent is Sent.GONE:
                    return
            if not self._backlog.keep(route, envelope, frames):
                # It asks for more than it reads: treat it as gone. If it is alive, it says hello again.
                self._count("overflowing_peers")
                self._forget(route, closed=False)
                return

    def retry(self) -> None:
        """Try to send the kept messages again."""
        self._backlog.retry(lambda *message: self._try(*message) is Sent.YES)

    def _try(self, route: bytes, envelope: bytes, frames: tuple[Any, ...]) -> Sent:
        """Send one message if that is possible now."""
        socket = self.socket
        size = len(envelope) + sum(map(m.frame_size, frames)) if frames else len(envelope)
        if size > LARGE_BYTES and not self._backlog.has_room(route, size):
            return Sent.NO
        try:
            socket.send(route, zmq.NOBLOCK | zmq.SNDMORE)
        except zmq.Again:
            return Sent.NO
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._count("unreachable_peers")
            self._forget(route)
            return Sent.GONE
        last: Any = envelope
        if frames:
            socket.send(envelope, zmq.SNDMORE)
            for frame in frames[:-1]:
                socket.send(frame, zmq.SNDMORE, copy=False)
            last = frames[-1]
        if size > LARGE_BYTES:  # the last frame leaves after all others
            last = zmq.Frame(memoryview(last), copy=False, track=True)
            self._backlog.follow(route, last.tracker, size)
        socket.send(last, copy=not frames and size <= LARGE_BYTES)
        return Sent.YES

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket and its monitor, and remove the Unix socket: libzmq leaves its file behind."""
        if self._path is not None:  # while the port is still ours: the path goes with the port
            discard(self._path)
        _close(self.socket, self.monitor, linger_ms)


def _close(router: Socket, monitor: Socket, linger_ms: int) -> None:
    if router.closed:  # ``rebind`` had closed it and found the port taken
        return
    router.disable_monitor()
    monitor.close(linger=0)
    router.close(linger=linger_ms)
