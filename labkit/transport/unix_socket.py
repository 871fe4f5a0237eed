"""A Unix socket beside each of the broker's loopback ports, for peers on the same machine.

Data on the loopback interface passes through all of TCP. A Unix socket hands it over directly, which makes a
round trip shorter and pictures cheaper. So the broker listens on both, and a peer that finds the Unix socket
of its broker's port uses that.

* Nothing depends on it. A peer that does not find it (Windows, another user, a proxy, a container) uses the
  port.
* Its name is derived from port and secret, so no peer meets another cluster's. Only one broker can have the
  port, and that one has the path, too. (Two brokers may bind one path, and the second silently takes it
  over.)
* It lies in a folder that only its owner can open, and requires the same secret as the port.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import socket
import stat
import tempfile
from pathlib import Path

import zmq

log = logging.getLogger(__name__)

MAX_PATH_BYTES = 100
"""Some systems limit the path of a Unix socket to 104 bytes, and libzmq adds to it."""


def is_supported() -> bool:
    """Return whether this system has Unix sockets that libzmq can use."""
    return hasattr(socket, "AF_UNIX") and hasattr(os, "getuid") and bool(zmq.has("ipc"))


def path_for(port: int, secret: str) -> Path | None:
    """Return the path for the broker with this loopback port and secret; None where there can be none."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{port}-{hashlib.sha256(f'{port} {secret}'.encode()).hexdigest()[:16]}"
    return path if len(os.fsencode(path)) <= MAX_PATH_BYTES else None


def best(address: str, secret: str) -> str:
    """Return the best address to connect to: a Unix socket beside ``address``, or ``address`` itself."""
    found = re.fullmatch(r"tcp://127\.0\.0\.1:([0-9]+)", address)
    try:
        path = path_for(int(found[1]), secret) if found else None
        return f"ipc://{path}" if path is not None and _answers(path) else address
    except OSError:
        return address  # no descriptor is left for the attempt, for example


def remove(port: int, secret: str) -> None:
    """Remove the socket that a killed broker with this port and secret has left behind."""
    path = path_for(port, secret)
    if path is not None:
        discard(path)


def discard(path: Path) -> None:
    """Remove a socket's file if that is possible. One that stays is harmless: no broker answers there."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove the sockets that were left behind by brokers killed together with their clusters."""
    folder = _folder()
    if folder is None:
        return
    try:
        for path in folder.iterdir():
            if not _answers(path):
                discard(path)
    except OSError as error:  # an optional tidying: a broker can serve beside what is left
        log.warning("sockets of former brokers stay in %s: %s", folder, error)


def _answers(path: Path) -> bool:
    """Return whether a broker listens there. Raises OSError if that cannot be tried."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # a broker listens, and is busy
        except OSError:
            return False
    return True


def _folder() -> Path | None:
    """Return the folder of this user's sockets, created if necessary; None where there can be none."""
    if not is_supported():
        return None
    try:
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        folder = Path(base) / f"labkit-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None  # no usable temporary folder, or a file of that name exists: peers use the port
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if private else None
