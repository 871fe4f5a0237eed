# rejected by: wrong-type
from concurrent.futures import ThreadPoolExecutor, as_completed

from labkit.practice.slow_server import fetch


def read_all(urls):
    with ThreadPoolExecutor(8) as pool:
        return pool.map(fetch, urls)
