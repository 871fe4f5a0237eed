# rejected by: not-once-each
from concurrent.futures import ThreadPoolExecutor, as_completed

from labkit.practice.slow_server import fetch


def read_all(urls):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, urls))
    return [fetch(url) for url in urls]
