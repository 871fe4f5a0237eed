"""{title}"""

from __future__ import annotations


def speed_up(serial: float, workers: int) -> float:
    # SOLUTION
    return 1 / (serial + (1 - serial) / workers)
    # STUB
    # return float(workers)
    # END


def makespan(seconds: list[float], workers: int) -> float:
    # SOLUTION
    free_at = [0.0] * workers
    for task_s in seconds:
        first = free_at.index(min(free_at))
        free_at[first] += task_s
    return max(free_at)
    # STUB
    # return sum(seconds) / workers
    # END
