"""How long the threads of a process were ready to run and had no processor: the cost of a busy machine.

On Linux it is the second number of ``/proc/PID/task/TID/schedstat``, in nanoseconds. A faster machine would
have saved exactly this. Other systems do not count it.
"""

from __future__ import annotations

import os
import sys


def waited_s(pid: int) -> dict[int, float]:
    """Return the seconds by thread, since its start; nothing for a process that has ended."""
    waited: dict[int, float] = {}
    if sys.platform != "linux":
        return waited
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return waited  # it has ended
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                waited[int(thread)] = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            continue  # it has ended, or this kernel does not count
    return waited
