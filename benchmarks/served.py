"""A gateway in a process of its own, and beside it, on the same uvicorn, a bare FastAPI route.

``python -m benchmarks.served FOLDER`` serves the cluster whose run folder this is, and prints its port. It
ends when its standard input does. ``GET /bare/`` passes nothing of labkit's.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import BenchFailed
from labkit.core.errors import N_
from labkit.support.signals import sigint_blocked

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from labkit.cluster import Cluster

ROOT = Path(__file__).resolve().parents[1]
BARE = "/bare/"
END_S = 10.0


class Served(NamedTuple):
    """Where the gateway listens on 127.0.0.1, and its process."""

    port: int
    pid: int


@contextmanager
def served(cluster: Cluster) -> Iterator[Served]:
    """Yield a gateway of a cluster of local processes; it ends with this block."""
    with sigint_blocked():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.served", str(cluster.folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchFailed(N_("the gateway did not start"))
        yield Served(int(line), process.pid)
    finally:
        process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _with_bare_route(app: ASGIApp) -> ASGIApp:
    from fastapi import FastAPI

    bare = FastAPI()

    @bare.get(BARE)
    async def answer() -> dict[str, bool]:
        return {"ok": True}

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (bare if scope.get("path") == BARE else app)(scope, receive, send)

    return either


def _main(folder: Path) -> int:
    from labkit.cluster.cluster import Cluster
    from labkit.cluster.local.backend import LocalBackend
    from labkit.cluster.run_folder import RunFolder
    from labkit.gateway.access import Access
    from labkit.gateway.app import build
    from labkit.gateway.gateway import Gateway
    from labkit.gateway.server import Server, bind
    from labkit.security.api_token import api_token_of

    run_folder = RunFolder(folder)
    state = run_folder.running()
    if state is None:
        return 1
    with Cluster(LocalBackend(run_folder, state)) as cluster:
        bound = bind("127.0.0.1", 0)
        gateway = Gateway(cluster, folder / "api")
        access = Access(api_token_of(run_folder.read_token()))
        server = Server(_with_bare_route(build(gateway, access)))

        def end_with_input() -> None:
            sys.stdin.read()
            server.stop()

        threading.Thread(target=end_with_input, daemon=True).start()
        bound.listen()
        print(bound.getsockname()[1], flush=True)
        try:
            server.run([bound])
        finally:
            gateway.close()
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
