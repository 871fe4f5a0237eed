"""Whether a broker lets us in, and if not, why: what a connecting socket's monitor tells, made into an error.

A refused peer hears nothing on its socket: a send to nowhere raises nothing. Only the monitor tells, and it
does not tell everything:

* *Refused* (HANDSHAKE_FAILED_AUTH): the broker does not accept this secret, or does not have this key on its
  list.
* *Another mechanism* (a protocol error of its own): one side shows a secret (PLAIN) and the other wants keys
  (CURVE). Both sides notice, and hang up; if the broker is faster, all that we see is that it hung up.
* *The wrong broker*: a CURVE server that cannot decrypt what we say hangs up in silence.

A connection that just ends says nothing, though: a proxy with nobody behind it looks like that, or a broker
that dies at that moment. So after each such end we knock: one more connection, to look which mechanism the
greeting names. Three ends in a row, each with such a greeting, mean what the greeting says.
"""

from __future__ import annotations

import socket
from enum import Enum

import zmq
from zmq.utils.monitor import recv_monitor_message

from labkit.core.errors import N_, AccessDenied
from labkit.security.credentials import Credentials, Keys
from labkit.transport.poller import readable

FAILURES = 3
"""Connections that must end in a row, each followed by a greeting, before that counts as an answer."""
KNOCK_S = 0.3
GREETING_BYTES = 64
_KNOCK = b"\xff" + bytes(8) + b"\x7f\x03\x00"  # how a ZMTP 3 peer begins; the mechanism would follow


class Denial(Enum):
    """Why a broker does not let us in."""

    REFUSED = "it does not accept this secret or key"
    MECHANISM = "it wants another kind of proof"
    OTHER_BROKER = "it is not the broker whose key we have"


class HandshakeMonitor:
    """Watches one connecting socket. ``socket`` may be polled beside the other.

    With ``address`` and ``credentials`` it knocks, which tells of denials that the monitor does not show.
    """

    def __init__(
        self, watched: zmq.Socket[bytes], address: str | None = None, credentials: Credentials | None = None
    ) -> None:
        self._watched = watched
        self._knock_at = address
        self._ours = b"CURVE" if isinstance(credentials, Keys) else b"PLAIN"
        self._failures = 0
        self.socket = watched.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_HANDSHAKE_SUCCEEDED
        )
        self.denial: Denial | None = None

    def read(self) -> bool:
        """Take in what the monitor has to say; return whether we were denied. It knocks, which takes
        ``KNOCK_S`` at most."""
        knock = False
        while readable(self.socket):
            told = recv_monitor_message(self.socket)
            event = told["event"]
            knock = event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.denial = Denial.REFUSED
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                if told["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                    self.denial = Denial.MECHANISM
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.denial, self._failures = None, 0
        if knock and self._knock_at is not None:
            theirs = _mechanism_at(self._knock_at)
            says_something = theirs is not None and (theirs != self._ours or theirs == b"CURVE")
            self._failures = self._failures + 1 if says_something else 0
            if self._failures >= FAILURES:
                self.denial = Denial.OTHER_BROKER if theirs == self._ours else Denial.MECHANISM
        return self.denial is not None

    def close(self) -> None:
        """Stop watching; an open monitor would keep the context from ending."""
        self._watched.disable_monitor()
        self.socket.close(linger=0)


def _mechanism_at(address: str) -> bytes | None:
    """Return which mechanism the ZMTP peer at ``address`` names, None if there is none; takes ``KNOCK_S`` at
    most, roughly."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    heard = b""
    try:
        with socket.create_connection((host, int(port)), timeout=KNOCK_S) as connection:
            connection.sendall(_KNOCK)
            while len(heard) < GREETING_BYTES // 2 and (part := connection.recv(GREETING_BYTES)):
                heard += part
    except OSError:
        return None  # nobody, or somebody slow
    is_greeting = heard[:1] == b"\xff" and heard[9:10] == b"\x7f" and len(heard) >= GREETING_BYTES // 2
    return heard[12:32].rstrip(b"\0") if is_greeting else None


def access_denied(address: str, credentials: Credentials, denial: Denial | None) -> AccessDenied:
    """Return the error that tells a person why the broker at ``address`` does not let us in."""
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
