"""Who may connect to the broker: the authentication that its sockets require, and the thread that checks it.

Every connection authenticates itself, on loopback too: a port on 127.0.0.1 is open to every user of the
machine, and to any web page's POST, so an address alone proves nothing.

* On one machine a peer presents the cluster's secret (ZMTP PLAIN), with its role as the user name.
* Where there are keys (CURVE, for any address), it proves that it owns the secret half of a listed key. The
  list is the public files of a ``KeyFolder``. It is checked for changes every ``LOOK_S``, and before a key is
  refused. So an added or removed key takes effect without a restart, and a connection whose key was removed
  is cut.

A role opens its own domain only: a worker's key, or the secret under the name ``worker``, opens the workers'
socket. A worker's key also limits the worker ids: ``Authenticator.may_use_worker_id``.

The authenticator starts before any socket is bound, and the sockets require it (``ZAP_ENFORCE_DOMAIN``): if
its thread died, every connection would be refused instead of admitted. A refused peer learns from libzmq only
that it was refused.

Source: ZeroMQ RFC 27 (ZAP). pyzmq's own authenticator is not used: it needs an event loop, reads the list
once, and cannot express what a key may be used for.
"""

from __future__ import annotations

import fnmatch
import hmac
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import zmq
from zmq.utils import z85

from labkit.security.credentials import Token
from labkit.security.key_store import CLIENT, WORKER, Grants, KeyFolder
from labkit.support.waker import Waker
from labkit.transport.poller import Poller, Socket
from labkit.transport.sockets import CLIENT_ROLE, WORKER_ROLE

log = logging.getLogger(__name__)

HANDSHAKE_MS = 3000
"""Time for authentication. Connections beyond it are closed, so that idle ones cannot exhaust descriptors."""
LOOK_S = 1.0
"""How often the list of keys is checked for changes."""
REFUSALS_LOGGED = 20
"""Refusals written to the log per second, at most."""

CLIENT_DOMAIN = "labkit.clients"
WORKER_DOMAIN = "labkit.workers"
EVENT_DOMAIN = "labkit.events"

_ZAP = "inproc://zeromq.zap.01"
_ROLE_OF = {CLIENT_DOMAIN: CLIENT, EVENT_DOMAIN: CLIENT, WORKER_DOMAIN: WORKER}
_NAME_OF = {CLIENT_DOMAIN: CLIENT_ROLE, EVENT_DOMAIN: CLIENT_ROLE, WORKER_DOMAIN: WORKER_ROLE}


class Authenticator:
    """The ZAP handler of one context: ``start`` before binding, ``guard`` each socket, ``stop`` at the end.

    ``known`` is the cluster's ``Token``, or the ``KeyFolder`` with its keys. ``on_change`` is called, in the
    authenticator's own thread, after the list of keys has changed.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        known: Token | KeyFolder,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.context = context
        self._known = known
        self._on_change = on_change
        self._grants: Grants = {}
        self._signature: object = None
        self._secret = known.broker_secret().encode() if isinstance(known, KeyFolder) else b""
        self._waker = Waker()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._logged = 0
        self._look_at = 0.0
        self.refused = 0
        """Connections that were refused."""

    # --- for the loop's thread
    # ----------------------------------------------------------------------------------

    def guard(self, socket: zmq.Socket[bytes], domain: str) -> None:
        """Require authentication for ``domain`` on this socket; call before bind."""
        if isinstance(self._known, Token):
            socket.plain_server = True
        else:
            socket.curve_server = True
            socket.curve_secretkey = self._secret
        socket.zap_domain = domain.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.handshake_ivl = HANDSHAKE_MS

    def may_use_worker_id(self, user: str, worker_id: str) -> bool:
        """Return whether a connection with the User-Id ``user`` may be the worker called ``worker_id``."""
        if isinstance(self._known, Token):
            return True
        grant = self._grants.get((WORKER, user))
        return grant is not None and any(fnmatch.fnmatchcase(worker_id, ids) for ids in grant.ids)

    def admits(self, role: str, user: str) -> bool:
        """Return whether ``user`` (a User-Id) is still listed in this role."""
        return isinstance(self._known, Token) or (role, user) in self._grants

    # --- the authenticator's thread
    # -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start checking connections in a thread. Raises ZMQError if the context has an authenticator."""
        self._look()
        with ExitStack() as undo:
            socket = self.context.socket(zmq.REP)
            undo.callback(socket.close, linger=0)
            socket.linger = 0
            socket.bind(_ZAP)
            poller = Poller()
            undo.callback(poller.close)
            poller.add(socket)
            poller.add(self._waker)
            self._stopping = False
            thread = threading.Thread(
                target=self._run, args=(socket, poller), name="labkit-authenticator", daemon=True
            )
            thread.start()
            undo.pop_all()
        self._thread = thread

    def stop(self) -> None:
        """End the thread; from then on every connection is refused."""
        if self._thread is None:
            return
        self._stopping = True
        self._waker.wake()
        self._thread.join()
        self._thread = None

    def close(self) -> None:
        """Stop, and release the waker."""
        self.stop()
        self._waker.close()

    def _run(self, socket: zmq.Socket[bytes], poller: Poller) -> None:
        try:
            while True:
                self._waker.arm()
                if self._stopping:
                    break
                ready = poller.wait(60.0 if isinstance(self._known, Token) else LOOK_S)
                self._waker.clear(self._waker in ready)
                if socket in ready:
                    socket.send_multipart(self._answer(socket.recv_multipart()))
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + LOOK_S
                    self._logged = 0
                    self._look()
        finally:
            poller.close()
            socket.close()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """Return the reply to one ZAP request. libzmq makes its frames; their content is a stranger's."""
        version, request, domain, address, _routing_id, mechanism = question[:6]
        user = self._judge(domain.decode(), mechanism, question[6:])
        if user is None:
            self._refuse(domain.decode(), address.decode(errors="replace"), mechanism, question[6:])
            return [version, request, b"400", b"not admitted", b"", b""]
        return [version, request, b"200", b"OK", user, b""]

    def _judge(self, domain: str, mechanism: bytes, proof: list[bytes]) -> bytes | None:
        """Return the User-Id of an admitted peer (a role's name, or a public key), or None to refuse it."""
        if isinstance(self._known, Token):
            if mechanism != b"PLAIN" or len(proof) != 2:
                return None
            name = _NAME_OF.get(domain, "").encode()
            named = hmac.compare_digest(proof[0], name)
            knows = hmac.compare_digest(proof[1], self._known.secret.encode())
            return name if named and knows and name else None
        if mechanism != b"CURVE" or len(proof) != 1 or len(proof[0]) != 32:
            return None
        key = z85.encode(proof[0])
        entry = (_ROLE_OF.get(domain, ""), key.decode("ascii"))
        if entry not in self._grants:
            self._look()  # the key may have been added just now; this costs less than the handshake did
        return key if entry in self._grants else None

    def _refuse(self, domain: str, address: str, mechanism: bytes, proof: list[bytes]) -> None:
        self.refused += 1
        self._logged += 1
        if self._logged <= REFUSALS_LOGGED:
            key = f" with the key {z85.encode(proof[0]).decode('ascii')}" if mechanism == b"CURVE" else ""
            log.warning("refused a connection from %s to %s%s", address, domain, key)

    def _look(self) -> None:
        """Read the list of keys again if it has changed."""
        if isinstance(self._known, Token) or (seen := self._known.signature()) == self._signature:
            return
        first, self._signature = self._signature is None, seen
        self._grants, wrong = self._known.grants()
        for error in wrong:
            log.error("this key file admits no peer: %s", error)
        admitted = ", ".join(sorted(f"{grant.role} {grant.name}" for grant in self._grants.values()))
        log.info("admitted by their keys: %s", admitted or "no one")
        if self._on_change is not None and not first:
            self._on_change()
