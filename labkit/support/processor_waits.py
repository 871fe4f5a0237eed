"""How long the threads of a process were ready to run and had no processor: the cost of a busy machine.

On Linux it is the second number of ``/proc/PID/task/TID/schedstat``, in nanoseconds. A faster machine would
have saved exactly this. Other systems do not count it. Waits for a disk are not counted by default, so there
is only the state of the moment.
"""

from __future__ import annotations

import os
import sys


def waited_s(pid: int) -> dict[int, float]:
    """Return the seconds by thread, since its start; nothing for a process that has ended."""
    waited: dict[int, float] = {}
    for thread in _threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                waited[int(thread)] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            continue  # it has ended, or this kernel does not count
    return waited


def waits_for_disk(pid: int) -> bool:
    """Return whether a thread of the process waits for a disk right now; no signal would end that wait."""
    for thread in _threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] == "D":
                    return True
        except (OSError, IndexError):
            continue  # it has ended
    return False


def _threads(pid: int) -> list[str]:
    if sys.platform != "linux":
        return []
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []  # it has ended
