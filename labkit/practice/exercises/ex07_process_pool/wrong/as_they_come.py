# rejected by: wrong-result
import os
import time
from concurrent.futures import ProcessPoolExecutor


def work(seconds):
    time.sleep(seconds)
    return seconds * 10, os.getpid()


def in_processes(seconds):
    with ProcessPoolExecutor(2) as pool:
        return sorted(pool.map(work, seconds), reverse=True)[::-1][::-1][:3]
