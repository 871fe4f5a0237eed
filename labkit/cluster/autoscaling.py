"""An autoscaler at work: a thread that looks at a cluster, asks ``core.autoscaler``, and scales.

It works from outside the cluster, with what a person at the keyboard has: ``status`` and ``scale``. So it is
the same for every backend, and if it dies the cluster keeps its size. While the broker or the supervisor does
not answer it does nothing, because it cannot see the load.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from labkit.cluster.processes import STOPPING, WORKER, check_worker_count
from labkit.cluster.view import Scalable
from labkit.core.autoscaler import Autoscaler, Decision, Limits, load_of
from labkit.core.errors import LabkitError

LOOK_EVERY_S = 0.5
MOST_REMEMBERED = 1000


class Autoscaling:
    """An autoscaler that works until ``close``, or until the cluster is down. Use it with ``with``.

    ``on_decision`` is called in its thread, after the cluster was scaled. An exception from it, or from the
    cluster, ends the autoscaler.
    """

    def __init__(
        self, cluster: Scalable, limits: Limits, on_decision: Callable[[Decision], None] | None = None
    ) -> None:
        check_worker_count(limits.most)
        self.limits = limits
        self.decisions: deque[Decision] = deque(maxlen=MOST_REMEMBERED)
        """The latest steps, oldest first."""
        self.error: BaseException | None = None
        """The error that ended it, if one did."""
        self._cluster = cluster
        self._on_decision = on_decision
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labkit-autoscaler", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still scales the cluster."""
        return self._thread.is_alive()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it has ended by itself, or for ``timeout_s`` seconds."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """End it. The cluster keeps its present size; nothing changes after this returns."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _run(self) -> None:
        autoscaler = Autoscaler(self.limits, time.monotonic())
        try:
            while not self._over.wait(LOOK_EVERY_S):
                try:
                    self._look(autoscaler)
                except LabkitError as error:
                    if error.definite:
                        raise  # otherwise the cluster was too busy to answer: look again
        except BaseException as error:  # noqa: BLE001 - a thread can only store it, even on_decision's exit()
            # The cluster is down, or cannot be scaled; or the output of on_decision is closed.
            self.error = error

    def _look(self, autoscaler: Autoscaler) -> None:
        status = self._cluster.status()
        if status["broker"] is None:
            return
        rows = status["processes"]
        own = {row["name"] for row in rows if row["kind"] == WORKER and row["state"] != STOPPING}
        decision = autoscaler.observe(load_of(status["broker"], own), time.monotonic())
        if decision is not None:
            self._cluster.scale(decision.size)
            self.decisions.append(decision)
            if self._on_decision is not None:
                self._on_decision(decision)
