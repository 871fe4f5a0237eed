"""A slow worker: a process that gets the processor only for short moments, as on an overloaded machine.

It is stopped (SIGSTOP) and continued (SIGCONT) in quick turns, much shorter than a heartbeat period. So it is
late with everything but still sends heartbeats: a slow worker is not a dead one. The history records "slow"
and "heal" at the beginning and the end; the turns in between are not recorded as faults.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from labkit.core.errors import N_, ClusterError

if TYPE_CHECKING:
    from labkit.cluster import Cluster

STOPPED_S, RUNNING_S = 0.25, 0.03


@contextmanager
def slowed(cluster: Cluster, worker: str) -> Iterator[None]:
    """Slow ``worker`` down while the block runs. Raises ClusterError if it has no process on this machine."""
    pid = next((info.pid for info in cluster.workers() if info.name == worker), None)
    if pid is None or cluster.backend != "local":
        raise ClusterError(N_("{name} has no process on this machine that could be slowed down"), name=worker)
    process = psutil.Process(pid)
    over = threading.Event()
    thread = threading.Thread(target=_take_turns, args=(process, over), name="labkit-slow", daemon=True)
    with cluster.client("slow") as client:
        client.note("slow", worker)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            client.note("heal", worker)


def _take_turns(process: psutil.Process, over: threading.Event) -> None:
    try:
        while not over.is_set():
            process.suspend()
            time.sleep(STOPPED_S)
            process.resume()
            over.wait(RUNNING_S)
    except psutil.NoSuchProcess:
        return  # the process was killed meanwhile
