"""A steady stream of small tasks, so that there is something to disturb.

Each task waits a moment on its worker and computes nothing, so that a laptop with two cores can have many of
them and stays cool. There are always enough of them that every worker holds one and has the next beside it:
whoever kills a worker while this runs interrupts a task.
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
"""Open tasks per worker: some seconds of work, in case nobody can add to it for a while."""


class Load:
    """A stream of tasks to one cluster; ``top_up`` now and then, from one thread."""

    def __init__(self, cluster: ClusterView) -> None:
        self._cluster = cluster
        self._client: Client | None = None
        self._open: list[TaskFuture] = []

    def top_up(self, workers: int) -> None:
        """See to it that there is work for so many workers. Raises LabkitError if there is no broker."""
        if self._client is None:
            self._client = self._cluster.client("panel", connect_timeout_s=1.0)
        self._open = [future for future in self._open if not future.done()]
        for _ in range(max(0, workers) * AHEAD - len(self._open)):
            self._open.append(self._client.submit(sleep_for, TASK_S))

    def stop(self) -> None:
        """Take back what has not started, and leave."""
        client, self._client = self._client, None
        self._open.clear()
        if client is not None:
            client.close()
