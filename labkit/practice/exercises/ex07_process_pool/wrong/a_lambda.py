# rejected by: raised
import os
import time
from concurrent.futures import ProcessPoolExecutor


def in_processes(seconds):
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(lambda one: (time.sleep(one), os.getpid()), seconds))
