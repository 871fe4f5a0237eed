"""A cluster without its observers: no history, no mirror in Redis, no supervisor. For comparison only.

``python -m benchmarks.bare`` is its broker: the lab's own, with a recorder that keeps nothing. What a broker
does for safety (blame, epochs, quotas, deadlines, liveness) cannot be switched off. Neither can the secret,
which costs nothing once a connection stands.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.setup import wake_all
from labkit.support.signals import sigint_blocked

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[1]
START_S = 15.0
END_S = 5.0


class Forgetful:
    """A recorder that keeps and publishes nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def put(self, events: list[Any]) -> None:
        """Forget the events."""

    def cut_loud(self) -> int:
        """There are no subscribers."""
        return 0

    def reopen(self) -> None:
        """There are no subscribers."""

    def close(self) -> None:
        """There is nothing to close."""


@contextmanager
def bare_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor on a cluster without observers."""
    from labkit.client.client import Client
    from labkit.cluster import ports
    from labkit.executors import ClusterExecutor
    from labkit.security.credentials import Token

    secret = secrets.token_hex(32)
    chosen = ports.choose(HOST, {}, usual=False)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        token_file = folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(secret)
        common = {"LABKIT_TOKEN_FILE": str(token_file), "REDIS_URL": ""}
        listens = {ports.VARIABLES[name]: str(port) for name, port in chosen.items()}
        stack.enter_context(_process(folder / "broker.log", "benchmarks.bare", common | listens))
        for number in range(1, workers + 1):
            settings = {"LABKIT_BROKER": f"tcp://{HOST}:{chosen['worker']}", "WORKER_ID": f"bare-{number}"}
            stack.enter_context(_process(folder / f"worker-{number}.log", "workers", common | settings))
        client = Client(f"tcp://{HOST}:{chosen['client']}", Token(secret), connect_timeout_s=START_S)
        executor = ClusterExecutor(client)
        stack.callback(executor.shutdown, cancel_futures=True)
        wake_all(executor, workers)
        yield executor


@contextmanager
def _process(log: Path, module: str, settings: dict[str, str]) -> Iterator[None]:
    from labkit.cluster.local.plan import KEEP_FREED_MEMORY

    kept = {name: value for name, value in os.environ.items() if not name.startswith("LABKIT_")}
    environment = {**kept, **KEEP_FREED_MEMORY, **settings, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output, sigint_blocked():
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module], env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _main() -> int:
    from labkit import broker
    from labkit.broker import service
    from labkit.support.settings import Settings

    service.Recorder = Forgetful  # type: ignore[assignment,attr-defined]
    return broker.main(Settings.from_environment())


if __name__ == "__main__":
    sys.exit(_main())
