# rejected by: wrong-order
from concurrent.futures import ThreadPoolExecutor, as_completed

from labkit.practice.slow_server import fetch


def read_all(urls):
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(fetch, url) for url in urls]
        return [future.result() for future in as_completed(futures)]
