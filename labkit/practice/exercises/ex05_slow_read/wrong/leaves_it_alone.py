# rejected by: left-running
from concurrent.futures import ThreadPoolExecutor, wait

from labkit.practice.slow_server import Download


def read_in_time(urls, limit_s):
    pool = ThreadPoolExecutor(len(urls))
    futures = [pool.submit(Download(url).read) for url in urls]
    _done, late = wait(futures, timeout=limit_s)
    pool.shutdown(wait=False, cancel_futures=True)
    return [None if future in late else future.result() for future in futures]
