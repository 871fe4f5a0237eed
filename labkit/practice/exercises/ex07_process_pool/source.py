"""{title}"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor

# SOLUTION


def work(seconds: float) -> tuple[float, int]:
    time.sleep(seconds)
    return seconds * 10, os.getpid()


# STUB
# END


def in_processes(seconds: list[float]) -> list[tuple[float, int]]:
    # SOLUTION
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(work, seconds))
    # STUB
    # def work(one: float) -> tuple[float, int]:
    #     time.sleep(one)
    #     return one * 10, os.getpid()
    #
    # with ProcessPoolExecutor(2) as pool:
    #     return list(pool.map(work, seconds))
    # END
