"""The short way between processes of one machine: a Unix socket beside each of the broker's loopback ports.

What goes through the loopback interface passes the whole of TCP; a Unix socket just hands it over, which
makes a round trip shorter and pictures cheaper. So the broker listens at both, and a peer that finds the Unix
socket of the port that it was told takes that.

* Nothing depends on it. Whoever does not find it (Windows, another user, a proxy, a container) uses the port.
* Its name is made of port and secret: nobody meets another cluster's, and the port, which only one broker can
  have, decides which broker has it. (Two brokers may bind one path, and the second silently takes it over.)
* It lies in a folder that only its owner can open, and asks for the same secret as the port.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import tempfile
from pathlib import Path

import zmq

MAX_PATH_BYTES = 100
"""The name of a Unix socket has 104 bytes on some systems, and libzmq adds to it."""


def path_for(port: int, secret: str) -> Path | None:
    """Return where the broker that has this loopback port and secret listens, or None where it cannot."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / f"{port}-{hashlib.sha256(f'{port} {secret}'.encode()).hexdigest()[:16]}"
    return path if len(os.fsencode(path)) <= MAX_PATH_BYTES else None


def best(address: str, secret: str) -> str:
    """Return the address to connect to instead of ``address``: the same, or a Unix socket beside it."""
    found = re.fullmatch(r"tcp://127\.0\.0\.1:([0-9]+)", address)
    path = path_for(int(found[1]), secret) if found else None
    return f"ipc://{path}" if path is not None and _answers(path) else address


def remove(port: int, secret: str) -> None:
    """Remove what the broker of this port and secret, which has ended, has left if it was killed."""
    path = path_for(port, secret)
    if path is not None:
        path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove the sockets that brokers left behind when they were killed, together with their clusters."""
    folder = _folder()
    for path in folder.iterdir() if folder is not None else ():
        if _answers(path):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue  # no socket, and not ours to remove: a broker can serve beside it


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # somebody listens, and is busy
        except OSError:
            return False
    return True


def _folder() -> Path | None:
    """Return the folder of this user's sockets, which is made if need be; None if there can be none."""
    if not hasattr(socket, "AF_UNIX") or not hasattr(os, "getuid") or not zmq.has("ipc"):
        return None
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"labkit-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None  # no such place here, or somebody else's file has its name: there is the port
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if private else None
