"""A client's or a worker's connection to the broker: one DEALER, opened, read, written and replaced as a
whole.

The thread that owns the connection opens it anew when its session asks for that. Then every message that
still waits in the old socket is discarded with it, on purpose: a worker without a broker would otherwise pile
up heartbeats and send them all to the next one.

Messages that cannot be sent at once are kept in order and tried again on every ``flush``. They stay few: a
worker sends no more than its credit allows, a client no more than its window, and a broker that does not read
for long is considered gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import zmq

from labkit.core.errors import AccessDenied, ProtocolError
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.security.credentials import Credentials, Token
from labkit.support.waker import Waker
from labkit.transport import sockets, unix_socket
from labkit.transport.handshake_monitor import HandshakeMonitor, access_denied
from labkit.transport.poller import Poller, Socket

TURN_BUDGET = 200
"""Messages read in one turn, so that the session gets its Tick in between."""
RETRY_S = 0.005


class Connection:
    """See the module's head.

    ``role`` is the name presented to the broker, ``accepts`` the kinds of message that it may send us.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        poller: Poller,
        address: str,
        role: str,
        credentials: Credentials,
        accepts: frozenset[type],
        max_message_bytes: int,
    ) -> None:
        self.address = address
        self.dropped = 0
        """Count of messages that were not this protocol."""
        self._context = context
        self._poller = poller
        self._role = role
        self._credentials = credentials
        self._accepts = accepts
        self._max_message_bytes = max_message_bytes
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: HandshakeMonitor | None = None
        self._outbox: list[m.Message] = []
        self._budget = 1
        self._kept: deque[tuple[bytes, tuple[Any, ...]]] = deque()

    def open(self) -> None:
        """Discard the old socket with everything that waits in it, and open a new one."""
        self.close()
        self._outbox.clear()
        self._kept.clear()
        token = self._credentials
        best = unix_socket.best(self.address, token.secret) if isinstance(token, Token) else self.address
        with ExitStack() as undo:
            socket = sockets.dealer(self._context, self._role, token, self._max_message_bytes)
            undo.callback(socket.close, linger=0)
            monitor = HandshakeMonitor(socket, self.address, token)
            undo.callback(monitor.close)
            self._poller.add(socket)
            undo.callback(self._poller.remove, socket)
            self._poller.add(monitor.socket, often=False)
            undo.callback(self._poller.remove, monitor.socket)
            socket.connect(best)
            undo.pop_all()
        self._socket, self._monitor = socket, monitor

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket. Messages already sent may still leave for ``linger_ms``."""
        if self._socket is not None and self._monitor is not None:
            self._poller.remove(self._socket)
            self._poller.remove(self._monitor.socket)
            self._monitor.close()
            self._socket.close(linger=linger_ms)
            self._socket = self._monitor = None

    def read(self, ready: list[Socket | Waker]) -> Iterator[list[m.Message]]:
        """Yield the messages of each envelope that has arrived; stop if the connection is replaced."""
        socket = self._socket
        if socket is None or socket not in ready:
            return
        budget = self._budget  # doubles or shrinks with the traffic, as in labkit.broker.endpoint
        for count in range(budget):
            try:
                envelope, frames = sockets.receive(socket)
            except zmq.Again:
                self._budget = max(1, count)
                return
            try:
                messages = wire.decode(envelope, frames, self._accepts)
            except ProtocolError:
                self.dropped += 1  # if nothing else arrives, the session will find the broker silent
                continue
            yield messages
            if self._socket is not socket:
                return
        self._budget = min(TURN_BUDGET, 2 * budget)

    def was_denied(self, ready: list[Socket | Waker]) -> bool:
        """Return whether the broker refuses this connection; ``why_denied`` returns the reason."""
        return self._monitor is not None and self._monitor.socket in ready and self._monitor.read()

    def why_denied(self) -> AccessDenied:
        """Return the reason as an error to show, after ``was_denied``."""
        denial = None if self._monitor is None else self._monitor.denial
        return access_denied(self.address, self._credentials, denial)

    def put(self, message: m.Message) -> None:
        """Add a message to the next ``flush``; messages flushed together share envelopes."""
        self._outbox.append(message)

    @property
    def congested(self) -> bool:
        """Whether messages are kept because the broker does not read; flush again after ``RETRY_S``."""
        return bool(self._kept)

    def flush(self) -> None:
        """Send the waiting messages, as far as that is possible now."""
        if self._outbox:
            self._kept.extend(wire.envelopes(self._outbox))
            self._outbox.clear()
        self._send_kept()

    def _send_kept(self) -> None:
        if self._socket is None:
            return
        while self._kept:
            envelope, frames = self._kept[0]
            try:
                sockets.send(self._socket, envelope, frames)
            except zmq.Again:
                return
            self._kept.popleft()
