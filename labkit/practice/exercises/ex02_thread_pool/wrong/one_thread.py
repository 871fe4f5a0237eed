# rejected by: one-at-a-time
from concurrent.futures import ThreadPoolExecutor, as_completed

from labkit.practice.slow_server import fetch


def read_all(urls):
    with ThreadPoolExecutor(1) as pool:
        return list(pool.map(fetch, urls))
