"""Who may speak to the broker: the ZAP authenticator of its sockets.

On loopback every connection shows the cluster's secret (ZMTP PLAIN): a port on 127.0.0.1 is open to every
user of the machine, and to any web page's POST, so an address alone proves nothing. The name that a peer
shows is its role, and each role is admitted to its own domain only: a worker's secret opens the workers'
socket under the name ``worker``.

The authenticator runs before any socket is bound, and the sockets insist on it (``ZAP_ENFORCE_DOMAIN``): were
its thread dead, nobody would get in, instead of everybody.

Any other address needs CURVE and a list of keys; until a cluster has them, binding it is refused.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from labkit.core.errors import N_, SettingsError
from labkit.sockets import CLIENT_ROLE, WORKER_ROLE

HANDSHAKE_MS = 3000
"""A connection that has not shown the secret by then is closed; silence must not use up what there is."""

CLIENT_DOMAIN = "labkit.clients"
WORKER_DOMAIN = "labkit.workers"
EVENT_DOMAIN = "labkit.events"


def guard(socket: zmq.Socket[bytes], domain: str) -> None:
    """Let nobody reach ``socket`` but who shows the secret of ``domain``, soon. Call it before binding."""
    socket.plain_server = True
    socket.zap_domain = domain.encode()
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.handshake_ivl = HANDSHAKE_MS


def start_authenticator(context: zmq.Context[Any], token: str) -> ThreadAuthenticator:
    """Return a running authenticator; ``stop()`` it after the sockets are closed."""
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_plain(CLIENT_DOMAIN, {CLIENT_ROLE: token})
    authenticator.configure_plain(EVENT_DOMAIN, {CLIENT_ROLE: token})
    authenticator.configure_plain(WORKER_DOMAIN, {WORKER_ROLE: token})
    return authenticator


def require_loopback(host: str) -> None:
    """Raise ``SettingsError`` if ``host`` can be reached from other machines."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise SettingsError(
            N_(
                "LABKIT_HOST={host}: other machines could reach this address, and the cluster's secret would "
                "cross the network in the clear; use 127.0.0.1"
            ),
            host=host,
        )
