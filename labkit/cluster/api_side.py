"""The HTTP side of a cluster, seen from the programs that start it: can there be one, and does it answer?

It is a process of its own (``python -m labkit.gateway``). A cluster works without it.
"""

from __future__ import annotations

import http.client
import socket
from importlib.util import find_spec

from labkit.core.errors import N_, BackendMissing

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "sse_starlette", "prometheus_client")
HEALTH = "/api/health/"
PATIENCE_S = 2.0


def check_packages() -> None:
    """Raise BackendMissing if this Python lacks a package that the HTTP side needs. Imports none of them."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise BackendMissing(
            N_("the HTTP side needs the package {name}; python3 lab.py doctor installs it"),
            name=missing[0],
        )


def link_for_others(port: int, token: str) -> str:
    """Return the dashboard's address for other machines, with the token."""
    return f"http://{own_address()}:{port}/#token={token}"


def own_address() -> str:
    """Return the address by which other machines reach this one, or loopback's if it is in no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def answers(port: int) -> bool:
    """Return whether a labkit HTTP side answers on this port of loopback, however well its cluster is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", HEALTH)
        return b"workers_ready" in connection.getresponse().read(65_536)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
