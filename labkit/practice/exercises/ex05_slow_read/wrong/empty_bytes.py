# rejected by: not-given-up
from concurrent.futures import ThreadPoolExecutor, wait

from labkit.practice.slow_server import Download


def read_in_time(urls, limit_s):
    downloads = [Download(url) for url in urls]
    with ThreadPoolExecutor(len(urls)) as pool:
        futures = [pool.submit(download.read) for download in downloads]
        _done, late = wait(futures, timeout=limit_s)
        for download in downloads:
            download.cancel()
    return [b"" if future in late else future.result() for future in futures]
