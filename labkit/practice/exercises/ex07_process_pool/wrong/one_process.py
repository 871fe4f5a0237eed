# rejected by: one-process
import os
import time
from concurrent.futures import ProcessPoolExecutor


def work(seconds):
    time.sleep(seconds)
    return seconds * 10, os.getpid()


def in_processes(seconds):
    with ProcessPoolExecutor(1) as pool:
        return list(pool.map(work, seconds))
