"""Serves one gateway with uvicorn: takes the port, serves until it is told to stop, and ends in order."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from labkit.cluster.ports import API_USUAL
from labkit.core.errors import N_, PortInUse
from labkit.support import descriptors

BACKLOG = 512
MOST_CONNECTIONS = 1_200
"""Connections at the same time; one more is answered 503."""
OTHER_DESCRIPTORS = 400
"""For the cluster, Redis, pictures and the engines of this machine."""
IDLE_S = 20
GRACE_S = 5
"""How long requests under way may take at the end."""


def bind(host: str, port: int | None) -> socket.socket:
    """Return a bound socket: at ``port``; None: the usual one if it is free, otherwise another.

    Raises PortInUse for a named port that is taken, or a host that is none of this machine's.
    """
    wanted = [port] if port is not None else [API_USUAL, 0]
    for number in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # It names its protocol: asyncio switches Nagle's algorithm off only for sockets that name TCP. With
        # it, each answer of two packets waits 40 ms for the caller's delayed acknowledgement.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, number))
        except OSError as error:
            bound.close()
            if port is None and number == API_USUAL and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise PortInUse(
                N_("the API cannot listen on port {port} of {host}: {reason}; choose another with --port"),
                port=number,
                host=host,
                reason=error.strerror or str(error),
            ) from error
        return bound
    raise AssertionError("port 0 is always free")


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the program ends it with ``stop``."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                backlog=BACKLOG,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=64 << 10,
            )
        )

    def install_signal_handlers(self) -> None:
        """Leave signals to the program."""

    def stop(self) -> None:
        """End: no new requests, those under way may finish for ``GRACE_S``."""
        self.should_exit = True


def serve(app: ASGIApp, bound: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; ``on_ready`` is called when requests are answered."""
    server = Server(app)
    descriptors.allow(MOST_CONNECTIONS + OTHER_DESCRIPTORS)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        serving = asyncio.ensure_future(server._serve([bound]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if not serving.done():
            on_ready()
        await serving

    asyncio.run(run())
