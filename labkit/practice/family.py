"""A process and what it has started: their number, memory, processor time and waits for it, and their end.

The children of a process are known by their parent. One that has left its parent (a daemon) is known by the
mark in its environment, which it has inherited.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

import psutil

from labkit.support import processor_waits

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


def below(pid: int) -> list[int]:
    """Return the numbers of a process's descendants; often cheaper than ``descendants``, and good for a look.

    Linux names the children of each thread. One that has just come or gone may be missed, and with it others.
    """
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return [child.pid for child in descendants(pid)]
    found: list[int] = []
    parents = [pid]
    while parents:
        parent = parents.pop()
        with contextlib.suppress(OSError):  # it has ended
            for thread in os.listdir(f"/proc/{parent}/task"):
                children = [*map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())]
                found += children
                parents += children
    return found


def cpu_s(pid: int) -> float:
    """Return the processor seconds of a process and its descendants; 0 if it is gone."""
    total = 0.0
    for one in (pid, *below(pid)):
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(one).cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def in_line_s(pid: int) -> dict[int, float]:
    """Return how long each thread of a process and its descendants stood in line for a processor."""
    found: dict[int, float] = {}
    for one in (pid, *below(pid)):
        found.update(processor_waits.waited_s(one))
    return found


def waits_for_disk(pid: int) -> bool:
    """Return whether a thread of a process or its descendants waits for a disk at this moment."""
    return any(map(processor_waits.waits_for_disk, (pid, *below(pid))))


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
