"""A learner's process and what it has started: their number, memory and processor time, and their end.

The children of a process are known by their parent. One that has left its parent (a daemon) is known by the
mark in its environment, which it has inherited.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final

import psutil

MARK: Final = "PRACTICE_LEARNER"
WHOLE_MARK: Final = "PRACTICE_CHECK"
"""The environment variables that mark the processes of one learner, and of one whole check."""


def descendants(pid: int) -> list[psutil.Process]:
    """Return the children of a process, their children and so on; none if it is gone."""
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def cpu_s(pid: int) -> float:
    """Return the processor seconds of a process and its children; 0 if it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def memory(pids: list[int]) -> int:
    """Return the bytes in memory of the largest of these processes.

    Not of all of them: processes that were forked share most of theirs.
    """
    most = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            most = max(most, psutil.Process(pid).memory_info().rss)
    return most


def end_marked(mark: str, variable: str = MARK) -> None:
    """End the processes with this mark in their environment, until none is left."""
    found = True
    while found:
        found = False
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(variable) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    found = True
        time.sleep(0.01 * found)
