"""Whether the broker accepts a connection, and if not, why: a connecting socket's monitor events, turned into
errors.

A refused peer learns nothing from its socket: sending without a connection raises nothing. Only the monitor
reports the refusal, and not always completely:

* *Refused* (HANDSHAKE_FAILED_AUTH): the broker does not accept this secret, or does not have this key on its
  list.
* *Another mechanism* (a protocol error of its own): one side uses a secret (PLAIN) and the other keys
  (CURVE). Both sides notice and close; if the broker is faster, we see only that it closed the connection.
* *The wrong broker*: a CURVE server that cannot decrypt our handshake closes the connection without an
  answer.

But a connection that just ends proves nothing: a proxy without a server behind it looks the same, and so does
a broker that dies at that moment. So after each such end the monitor probes: it opens one more connection to
see which mechanism the greeting names. After three such ends in a row with a greeting each, the mechanism in
the greeting decides which of the errors is raised.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from enum import Enum

import zmq
from zmq.utils.monitor import recv_monitor_message

from labkit.core.errors import N_, AccessDenied
from labkit.security.credentials import Credentials, Keys
from labkit.transport.poller import Socket, readable

FAILURES = 3
"""Connections that must end in a row, each followed by a greeting, before that counts as a refusal."""
PROBE_S = 0.3
GREETING_BYTES = 64
_PROBE = b"\xff" + bytes(8) + b"\x7f\x03\x00"  # the start of a ZMTP 3 greeting; the mechanism would follow


class Denial(Enum):
    """Why a broker refuses us."""

    REFUSED = "it does not accept this secret or key"
    MECHANISM = "it wants another kind of proof"
    OTHER_BROKER = "it is not the broker whose key we have"


class HandshakeMonitor:
    """Watches one connecting socket. ``socket`` is the monitor's own, for polling.

    With ``address`` and ``credentials`` it also probes, which finds refusals that the monitor does not
    report.
    """

    def __init__(
        self, watched: zmq.Socket[bytes], address: str | None = None, credentials: Credentials | None = None
    ) -> None:
        self._watched = watched
        self._probe_at = address
        self._ours = b"CURVE" if isinstance(credentials, Keys) else b"PLAIN"
        self._failures = 0
        self.socket = monitor_of(
            watched,
            zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_SUCCEEDED,
        )
        self.denial: Denial | None = None

    def read(self) -> bool:
        """Read the monitor's events and return whether we were refused. A probe takes ``PROBE_S`` at most."""
        must_probe = False
        while readable(self.socket):
            received = recv_monitor_message(self.socket)
            event = received["event"]
            must_probe = event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.denial = Denial.REFUSED
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                if received["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                    self.denial = Denial.MECHANISM
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.denial, self._failures = None, 0
        if must_probe and self._probe_at is not None:
            theirs = _mechanism_at(self._probe_at)
            is_telling = theirs is not None and (theirs != self._ours or theirs == b"CURVE")
            self._failures = self._failures + 1 if is_telling else 0
            if self._failures >= FAILURES:
                self.denial = Denial.OTHER_BROKER if theirs == self._ours else Denial.MECHANISM
        return self.denial is not None

    def close(self) -> None:
        """Stop watching; an open monitor would prevent the context from ending."""
        self._watched.disable_monitor()
        self.socket.close(linger=0)


def monitor_of(watched: Socket, events: int) -> Socket:
    """Return the monitor's socket of ``watched``. If there can be none, ``watched`` is not watched either.

    ``Socket.get_monitor_socket`` of pyzmq would leave a socket open when one of its steps fails.
    """
    address = f"inproc://monitor.{int(watched.getsockopt(zmq.FD))}"
    with ExitStack() as undo:
        watched.monitor(address, events)
        undo.callback(watched.disable_monitor)
        monitor: Socket = watched.context.socket(zmq.PAIR)
        undo.callback(monitor.close, linger=0)
        monitor.connect(address)
        undo.pop_all()
    return monitor


def _mechanism_at(address: str) -> bytes | None:
    """Return the mechanism that the ZMTP peer at ``address`` names, or None if no peer answers.

    Takes about ``PROBE_S`` at most.
    """
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    greeting = b""
    try:
        with socket.create_connection((host, int(port)), timeout=PROBE_S) as connection:
            connection.sendall(_PROBE)
            while len(greeting) < GREETING_BYTES // 2 and (part := connection.recv(GREETING_BYTES)):
                greeting += part
    except OSError:
        return None  # no peer, or a slow one
    is_greeting = (
        greeting[:1] == b"\xff" and greeting[9:10] == b"\x7f" and len(greeting) >= GREETING_BYTES // 2
    )
    return greeting[12:32].rstrip(b"\0") if is_greeting else None


def access_denied(address: str, credentials: Credentials, denial: Denial | None) -> AccessDenied:
    """Return the error that explains why the broker at ``address`` refuses us."""
    if denial is Denial.OTHER_BROKER:
        return AccessDenied(
            N_(
                "the broker at {address} is not the one whose key is in broker.key; is it another cluster's? "
                "Otherwise copy broker.key from its machine again"
            ),
            address=address,
        )
    if denial is Denial.MECHANISM and isinstance(credentials, Keys):
        return AccessDenied(
            N_(
                "the broker at {address} takes no keys; if it is the broker of one machine alone, unset "
                "LABKIT_KEYS and use its cluster's secret"
            ),
            address=address,
        )
    if denial is Denial.MECHANISM:
        return AccessDenied(
            N_(
                "the broker at {address} takes no secret; if it wants keys, LABKIT_KEYS names the folder "
                "that holds yours"
            ),
            address=address,
        )
    if isinstance(credentials, Keys):
        return AccessDenied(
            N_(
                "the broker at {address} does not accept the key {key}; is it on the list, in this role? "
                "On the broker's machine: python -m labkit keys list"
            ),
            address=address,
            key=credentials.public,
        )
    return AccessDenied(
        N_("the broker at {address} does not accept this secret; is it another cluster's broker?"),
        address=address,
    )
