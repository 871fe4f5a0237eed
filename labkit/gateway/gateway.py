"""What the HTTP side of one cluster needs, in one object: made at the start, closed at the end.

``labkit.gateway.routes`` answer requests with it. It knows no HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from labkit.cluster.processes import API, WORKER
from labkit.core.errors import N_, ClusterError
from labkit.executors import open_executor
from labkit.gateway.batch_store import BatchStore
from labkit.gateway.batches import Batches
from labkit.gateway.engines import Slots
from labkit.gateway.live import Live
from labkit.gateway.problems import Problem, wrapping
from labkit.gateway.promises import Compared
from labkit.gateway.registry import Cached, Registry
from labkit.gateway.spool import Spool

if TYPE_CHECKING:
    from labkit.cluster import Cluster
    from labkit.cluster.status import ClusterStatus

STATUS_CACHED_S = 0.25
COMMANDS = ("kill", "pause", "resume", "stop", "start")


class Gateway:
    """One cluster for HTTP. The caller owns ``cluster`` and closes it after this object.

    ``folder``: where pictures lie. Raises BrokerUnreachable if the cluster does not answer.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.started = time.time()
        self.pending: dict[str, str] = {}
        """By process, the command that is being carried out."""
        self.compared: Compared | None = None
        """The latest comparison of all engines."""
        with ExitStack() as undo:
            self.spool = Spool(folder)
            self.client = cluster.client("gateway")
            undo.callback(self.client.close)
            self.store = BatchStore(cluster.redis_url)
            undo.callback(self.store.close)
            self.live = Live(cluster.event_file())
            undo.callback(self.live.close)
            self.registry = Registry(cluster.redis_url)
            self.batches = Batches(self.client, self.spool, self.store)
            self.resubmitted = self.batches.restore()
            self.slots = Slots()
            self.status = Cached(cluster.status, STATUS_CACHED_S)
            undo.callback(self.batches.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Stop taking outcomes, write what is to be kept, leave the cluster."""
        self._undo.close()

    def executor(self) -> Executor:
        """Return a new executor of the cluster; the caller shuts it down."""
        return open_executor("cluster", cluster=self.cluster)

    def broker_status(self) -> dict[str, Any] | None:
        """Return the broker's own status, at most a quarter of a second old; None if it does not answer."""
        return self.status.get()["broker"]

    def command(self, command: str, name: str) -> ClusterStatus:
        """Do a fault or its opposite to a worker; return the status afterwards.

        Raises Problem for a command or a worker that does not exist, for the HTTP side itself, and if the
        worker's state forbids it.
        """
        if command not in COMMANDS:
            raise Problem(
                404,
                "no-command",
                N_("there is no command {command!r}"),
                allowed=N_("{commands}"),
                command=command[:40],
                commands=", ".join(COMMANDS),
            )
        if name == API:
            raise Problem(
                409,
                "itself",
                N_("the HTTP side does not {command} itself"),
                next_step=N_("in a terminal: python -m labkit {command} api"),
                command=command,
            )
        known = {row["name"]: row["kind"] for row in self.cluster.status()["processes"] if row["kind"] != API}
        if name not in known:
            raise Problem(
                404,
                "no-worker",
                N_("there is no worker {name!r}"),
                allowed=N_("workers: {workers}; also {services}"),
                next_step=N_("GET /api/workers/status/ lists the workers"),
                name=name[:80],
                workers=", ".join(each for each, kind in known.items() if kind == WORKER) or "–",
                services=", ".join(each for each, kind in known.items() if kind != WORKER) or "–",
            )
        act = cast(Callable[[str], float], getattr(self.cluster, command))
        self.pending[name] = command
        try:
            act(name)
        except ClusterError as error:
            raise not_now(error) from error
        finally:
            if self.pending.get(name) == command:
                del self.pending[name]
        return self.cluster.status()

    def scale(self, workers: int) -> list[str]:
        """Have so many workers; return their names. Raises Problem if the cluster cannot."""
        try:
            return self.cluster.scale(workers)
        except ClusterError as error:
            if "command" in error.params:  # a container cannot start others; the command can, on the host
                raise wrapping(
                    error, 409, "not-now", N_("in a terminal outside the container: {command}")
                ) from error
            raise not_now(error) from error


def not_now(error: ClusterError) -> Problem:
    """Return the problem of a command that the cluster's present state forbids."""
    return wrapping(error, 409, "not-now", N_("GET /api/workers/status/ shows the states"))
