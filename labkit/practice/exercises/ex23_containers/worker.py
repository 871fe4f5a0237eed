"""A worker for a container: takes numbers from the Redis list ``tasks``, pushes their squares to ``results``.

It needs nothing but Python's standard library. REDIS_HOST (default: localhost) says where Redis is; if there
is no answer, the worker ends with an error. SIGTERM ends it politely.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

NAME = socket.gethostname()


def main() -> None:
    """Register, then work until SIGTERM."""
    redis = Redis(os.environ.get("REDIS_HOST", "localhost"))
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit())
    redis.ask("HSET", "workers", NAME, str(os.getuid()))
    print(f"{NAME} waits for tasks", flush=True)
    while True:
        popped = redis.ask("BRPOP", "tasks", "1")
        if popped:
            number = popped[1].decode()
            redis.ask("RPUSH", "results", f"{number} {int(number) ** 2}")


class Redis:
    """A connection that speaks as much of Redis's protocol (RESP) as the worker needs."""

    def __init__(self, host: str, port: int = 6379) -> None:
        self._file = socket.create_connection((host, port)).makefile("rwb")

    def ask(self, *words: str) -> Any:
        """Send a command and return its answer."""
        parts = [word.encode() for word in words]
        self._file.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))
        self._file.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:].rstrip()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind == b"+":
            return rest
        raise ConnectionError(rest.decode() or "Redis hung up")


if __name__ == "__main__":
    main()
