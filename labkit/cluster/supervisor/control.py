"""How the users of a cluster talk to its supervisor: one request and one answer per connection.

::

    user                                             supervisor (127.0.0.1, a port named in cluster.json)
      {"labkit": 1, "token": "...", "do": "kill", "with": {"name": "worker-2"}}   ->
                                                     <-   {"result": ...}
                                                     or   {"error": {"kind", "template", "params"}}

Both are one line of JSON. Rules:

* The supervisor listens on loopback only, and each request contains the cluster's secret, as with the broker
  (ZMTP PLAIN). A request without it is answered with AccessDenied and nothing else.
* A request is at most 64 KiB and must be complete after 3 s; until then, a connection that sends nothing
  occupies one of 64 places. No user can block the supervisor: it never waits for a single connection.
* An answer may come late (``stop`` answers when the worker has drained). The user decides how long to wait; a
  connection that the user closes is forgotten.
* labkit's own errors arrive as what they were.
* In a container the agent speaks the same protocol over a Unix socket (``labkit.cluster.compose.agent``). The
  permission of its file takes the place of the secret, so an empty one is sent.

Why not ``multiprocessing.connection``: its handshake blocks, and with its imports it would make the
supervisor a quarter larger.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from labkit.core import errors
from labkit.core.errors import N_, AccessDenied, ClusterError, ClusterNotRunning, InvariantBroken, LabkitError
from labkit.support import descriptors

VERSION = 1
HOST = "127.0.0.1"
MAX_REQUEST = 64 << 10
MAX_ANSWER = 16 << 20
PATIENCE_S = 3.0
MAX_CONNECTIONS = 64


class ErrorMessage(TypedDict):
    """An error on the wire."""

    kind: str
    """The name of its class in ``labkit.core.errors``."""
    template: str
    params: dict[str, Any]


class Answer(TypedDict, total=False):
    """One answer on the wire: it has one of these."""

    result: Any
    error: ErrorMessage


class TimedOut(ClusterError):
    """The supervisor did not answer in time; it may have carried out the request."""

    definite = False


# --- the user's side ----------------------------------------------------------------------------------------


def ask(port: int | Path, token: str, do: str, timeout_s: float = 5.0, **parameters: Any) -> Any:
    """Send a request to the supervisor at ``port`` (an agent: at a socket's file), and return its answer.

    Raises the error that the supervisor answers with, ClusterNotRunning if nothing listens there or the
    supervisor ends meanwhile, and TimedOut (indefinite).
    """
    request = json.dumps({"labkit": VERSION, "token": token, "do": do, "with": parameters}) + "\n"
    deadline = time.monotonic() + timeout_s
    try:
        with _connection(port, timeout_s) as connection:
            connection.sendall(request.encode())
            line = _read_line(connection, deadline)
    except TimeoutError as error:
        raise TimedOut(
            N_("the cluster's supervisor did not answer within {seconds:g} s (it was asked to {do})"),
            seconds=timeout_s,
            do=do,
        ) from error
    except OSError as error:
        if descriptors.is_exhausted(error):
            raise descriptors.too_many(error) from error
        raise ClusterNotRunning(
            N_("the cluster's supervisor cannot be reached ({reason}); python -m labkit up starts a cluster"),
            reason=error.strerror or str(error),
        ) from error
    answer: Answer = json.loads(line)
    if "error" in answer:
        raise decode_error(answer["error"])
    return answer["result"]


def _connection(port: int | Path, timeout_s: float) -> socket.socket:
    if isinstance(port, int):
        return socket.create_connection((HOST, port), timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(port))
    except BaseException:
        connection.close()
        raise
    return connection


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part or len(received) > MAX_ANSWER:
            raise ConnectionResetError("it hung up")
        received += part
    return bytes(received)


# --- errors on the wire -------------------------------------------------------------------------------------


def encode_error(error: LabkitError) -> ErrorMessage:
    """Return an error as JSON; parameters that JSON cannot represent become text."""
    params = json.loads(json.dumps(error.params, default=str))
    return {"kind": type(error).__name__, "template": error.template, "params": params}


def decode_error(message: ErrorMessage) -> LabkitError:
    """Return the error that the supervisor raised; of a kind that is unknown here, a ClusterError."""
    kind = getattr(errors, str(message["kind"]), ClusterError)
    if not (isinstance(kind, type) and issubclass(kind, LabkitError)):
        kind = ClusterError
    return kind(message["template"], **message["params"])


# --- the supervisor's side ----------------------------------------------------------------------------------


class Request:
    """One user's request: ``do`` with ``parameters``. Answer it once, now or later."""

    def __init__(self, peer: _Peer, do: str, parameters: dict[str, Any]) -> None:
        self._peer = peer
        self.do = do
        self.parameters = parameters

    def answer(self, result: Any) -> None:
        """Send the answer; does nothing if the user is gone or has been answered."""
        self._peer.send({"result": result})

    def refuse(self, error: LabkitError) -> None:
        """Send an error as the answer."""
        self._peer.send({"error": encode_error(error)})


class ControlServer:
    """The control socket. It registers its sockets with ``selector``; call a key's data when it is ready.

    ``on_request`` is called for each request with the right secret; a LabkitError that it raises is sent as
    the answer. ``listener``: a socket that listens already, instead of a port on loopback.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        token: str,
        on_request: Callable[[Request], None],
        listener: socket.socket | None = None,
    ) -> None:
        self._selector = selector
        self._token = token
        self._on_request = on_request
        self._peers: set[_Peer] = set()
        self._socket = listener or socket.create_server((HOST, 0), backlog=MAX_CONNECTIONS)
        try:
            self._socket.setblocking(False)
            self.port: int = self._socket.getsockname()[1] if listener is None else 0
            selector.register(self._socket, selectors.EVENT_READ, self._accept)
        except BaseException:
            self._socket.close()
            raise

    def _accept(self) -> None:
        try:
            connection, _address = self._socket.accept()
        except OSError:
            return  # it hung up again, or there are no descriptors left: the next one may succeed
        if len(self._peers) >= MAX_CONNECTIONS:
            connection.close()
            return
        self._peers.add(_Peer(self, connection))

    def next_deadline(self) -> float | None:
        """Return when ``sweep`` is to be called at the latest, or None."""
        return min((peer.deadline for peer in self._peers if peer.deadline is not None), default=None)

    def sweep(self, now: float) -> None:
        """Close the connections that did not complete a request in time."""
        for peer in [p for p in self._peers if p.deadline is not None and now >= p.deadline]:
            peer.close()

    def close(self) -> None:
        """Close everything. Answers that are still being sent get a moment."""
        for peer in list(self._peers):
            peer.flush_and_close()
        self._selector.unregister(self._socket)
        self._socket.close()

    def received(self, peer: _Peer, line: bytes) -> None:
        """Check one request, and have it answered."""
        try:
            self._on_request(self._understand(peer, line))
        except LabkitError as error:
            peer.send({"error": encode_error(error)})

    def _understand(self, peer: _Peer, line: bytes) -> Request:
        try:
            request = json.loads(line)
            version, token = request["labkit"], request["token"]
        except (ValueError, TypeError, KeyError, RecursionError):
            version, token = None, ""
        if not (isinstance(token, str) and same_secret(token, self._token)):
            raise AccessDenied(N_("the cluster's supervisor does not accept this secret"))
        if version != VERSION:
            raise ClusterError(
                N_(
                    "this cluster was started by another version of labkit; "
                    "end it with that one, then start it again"
                )
            )
        do, parameters = request.get("do"), request.get("with", {})
        if not (isinstance(do, str) and isinstance(parameters, dict)):
            raise InvariantBroken(N_("a request to the supervisor without 'do' or 'with'"))
        return Request(peer, do, parameters)

    def forget(self, peer: _Peer) -> None:
        """The peer has closed itself."""
        self._peers.discard(peer)


class _Peer:
    """One connection: it reads one line, sends the answer, and closes."""

    def __init__(self, server: ControlServer, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._inbox = bytearray()
        self._outbox = b""
        self._asked = False
        self.deadline: float | None = time.monotonic() + PATIENCE_S
        connection.setblocking(False)
        server._selector.register(connection, selectors.EVENT_READ, self._ready)

    def _ready(self) -> None:
        if self._outbox:
            self._flush()
        else:
            self._read()

    def _read(self) -> None:
        try:
            part = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part or self._asked or len(self._inbox) + len(part) > MAX_REQUEST:
            self.close()  # gone; or it sends more after its request; or its request is too long
            return
        self._inbox += part
        if self._inbox.endswith(b"\n"):
            self._asked = True
            self.deadline = None  # from now on the supervisor may take its time
            self._server.received(self, bytes(self._inbox))

    def send(self, answer: Answer) -> None:
        """Send the answer, then close; nothing if the connection is closed."""
        if self._socket.fileno() < 0:
            return
        self._outbox = json.dumps(answer).encode() + b"\n"
        self.deadline = time.monotonic() + PATIENCE_S
        self._server._selector.modify(self._socket, selectors.EVENT_WRITE, self._ready)
        self._flush()

    def _flush(self) -> None:
        try:
            self._outbox = self._outbox[self._socket.send(self._outbox) :]
        except BlockingIOError:
            return
        except OSError:
            self._outbox = b""  # the user is gone
        if not self._outbox:
            self.close()

    def flush_and_close(self) -> None:
        """Send the rest of an answer, briefly waiting for it, and close."""
        if self._outbox:
            self._socket.settimeout(0.2)
            self._flush()
        self.close()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._socket.fileno() >= 0:
            self._server._selector.unregister(self._socket)
            self._socket.close()
            self._server.forget(self)


def same_secret(given: str, real: str) -> bool:
    """Return whether both are equal, in a time that does not depend on where they differ.

    ``hmac.compare_digest`` would do, but its module brings OpenSSL into a process that is to stay small.
    """
    ours, theirs = real.encode(), given.encode("utf-8", "replace")
    differences = sum(a ^ b for a, b in zip(ours, theirs, strict=False))
    return len(ours) == len(theirs) and differences == 0
