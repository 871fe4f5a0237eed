"""A steady stream of small tasks, so that there is something to disturb.

Each task sleeps on its worker and computes nothing, so a laptop with two cores can run many of them. There
are always enough that every worker holds one and has the next waiting: killing a worker then interrupts a
task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.jobs import sleep_for

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture
    from labkit.cluster.view import ClusterView

TASK_S = 0.25
AHEAD = 16
"""Open tasks per worker: some seconds of work, in case none can be added for a while."""


class Load:
    """A stream of tasks to one cluster. Call ``top_up`` now and then, from one thread."""

    def __init__(self, cluster: ClusterView) -> None:
        self._cluster = cluster
        self._client: Client | None = None
        self._open: list[TaskFuture] = []

    def top_up(self, workers: int) -> None:
        """Submit tasks until there is work for ``workers`` workers. Raises LabkitError without a broker."""
        if self._client is None:
            self._client = self._cluster.client("panel", connect_timeout_s=1.0)
        self._open = [future for future in self._open if not future.done()]
        for _ in range(max(0, workers) * AHEAD - len(self._open)):
            self._open.append(self._client.submit(sleep_for, TASK_S))

    def stop(self) -> None:
        """Withdraw the tasks that have not started, and close the client."""
        client, self._client = self._client, None
        self._open.clear()
        if client is not None:
            client.close()
