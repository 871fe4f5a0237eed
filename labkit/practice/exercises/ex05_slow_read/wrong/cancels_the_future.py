# rejected by: never-returns
from concurrent.futures import ThreadPoolExecutor, wait

from labkit.practice.slow_server import Download


def read_in_time(urls, limit_s):
    with ThreadPoolExecutor(len(urls)) as pool:
        futures = [pool.submit(Download(url).read) for url in urls]
        _done, late = wait(futures, timeout=limit_s)
        for future in late:
            future.cancel()
        return [None if future in late else future.result() for future in futures]
