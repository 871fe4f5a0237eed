# rejected by: not-in-a-process
import os
import time
from concurrent.futures import ThreadPoolExecutor


def work(seconds):
    time.sleep(seconds)
    return seconds * 10, os.getpid()


def in_processes(seconds):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, seconds))
