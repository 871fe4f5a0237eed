"""The fault in the middle of a load: kills a worker that computes, starts it again, finds what that cost.

It runs in a thread of its own, because a command to a cluster takes a while and the load must not wait. Under
a light load a worker is idle again before a kill arrives. So a task of the fault's own is sent, too, which
takes half a second: the worker that has begun it is killed, and the task goes to another one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from labkit.core.errors import LabkitError
from labkit.jobs import sleep_for

if TYPE_CHECKING:
    from labkit.client.futures import TaskFuture
    from labkit.cluster import Cluster
    from labkit.core.history import Recovery

LOOK_S = 0.01
PROBE_S = 0.5
BACK_AFTER_S = 1.0
"""The killed worker is started again after this time, so that the cluster has its size again."""
WRITTEN_S = 5.0
"""How long the history may take to show what the fault cost."""


class Fault:
    """One kill: ``begin`` it, then ``finish`` it after the load. ``victim`` is empty until there is one."""

    def __init__(self, cluster: Cluster) -> None:
        self.victim = ""
        self.at_s = 0.0
        """When it was killed, in seconds since the load began (``load_began``)."""
        self.load_began = 0.0
        self.error: LabkitError | None = None
        """Why the kill, or the start after it, failed."""
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labkit-load-fault", daemon=True)
        self._began = False

    def begin(self) -> None:
        """Kill the worker with the most tasks as soon as one computes; returns at once."""
        self._began = True
        self._thread.start()

    def finish(self) -> Recovery | None:
        """Do what ``close`` does; return what the kill cost, None if there was none."""
        self.close()
        if not self.victim:
            return None
        deadline = time.monotonic() + WRITTEN_S
        while True:
            found = self._recovery()
            if (found is not None and found.detected_at) or time.monotonic() > deadline:
                return found
            time.sleep(LOOK_S)

    def close(self) -> None:
        """Have the worker started again if it is not; kill none from now on."""
        self._over.set()
        if self._began:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._cluster.client("stress fault") as client:
                probe = client.submit(sleep_for, PROBE_S)
                while not self.victim and not self._over.is_set():
                    if name := self._computes(probe):
                        self.at_s = time.monotonic() - self.load_began
                        self._cluster.kill(name)
                        self.victim = name
                    else:
                        self._over.wait(LOOK_S)
                self._over.wait(BACK_AFTER_S if self.victim else 0)
            if self.victim:
                self._cluster.start(self.victim)
        except LabkitError as error:
            self.error = error

    def _computes(self, probe: TaskFuture) -> str:
        """Return a worker that surely computes: it has begun the probe, or more tasks wait at it."""
        if probe.done():
            return ""
        if probe.running() and probe.worker:
            return probe.worker
        busy = [
            (row["in_flight"], row["name"])
            for row in self._cluster.status()["workers"]
            if row["process"] == "running" and row["status"] == "busy" and row["in_flight"] > row["slots"]
        ]
        return max(busy)[1] if busy else ""

    def _recovery(self) -> Recovery | None:
        chains = [
            chain
            for chain in self._cluster.history().recoveries()
            if chain.fault == "kill" and chain.target == self.victim
        ]
        return chains[-1] if chains else None
