"""Serves the HTTP side of one cluster: as a process of the cluster, or for a command, until a signal comes.

In a container it listens on all addresses of the container. Docker publishes the port on the host's loopback,
and hands requests on from the container's own gateway address, which therefore counts as near.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cluster.ports import API_HOST, API_USUAL
from labkit.gateway.access import Access
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster import Cluster

ROUTES = Path("/proc/net/route")
SERVICE = "api"
"""The host name of the HTTP side among the containers."""


def bind_for(settings: Settings, port: int | None = None) -> socket.socket:
    """Return the bound socket. ``port``: instead of the settings'. Raises PortInUse if it is taken."""
    from labkit.gateway.server import bind

    if settings.control is not None:
        return bind("0.0.0.0", API_USUAL)
    return bind(settings.api_host, port if port is not None else settings.api_port)


def access_of(cluster: Cluster, settings: Settings) -> Access:
    """Return who may do what: in a container, its own gateway counts as near."""
    token = cluster.api_token()
    if settings.control is None:
        return Access(token, open=settings.api_host != API_HOST)
    return Access(token, names=(SERVICE,), near=gateways(ROUTES.read_text(encoding="ascii")))


def gateways(routes: str) -> list[str]:
    """Return the gateways in Linux's table of routes (``/proc/net/route``), as addresses."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":
            found.append(socket.inet_ntoa(struct.pack("<I", int(fields[2], 16))))
    return found


def serve_cluster(
    cluster: Cluster, settings: Settings, bound: socket.socket, on_ready: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM. Raises BrokerUnreachable if the cluster does not answer."""
    from labkit.gateway.app import build
    from labkit.gateway.gateway import Gateway
    from labkit.gateway.server import serve

    gateway = Gateway(cluster, settings.spool or cluster.folder / "api")
    try:
        serve(build(gateway, access_of(cluster, settings)), bound, on_ready)
    finally:
        gateway.close()
