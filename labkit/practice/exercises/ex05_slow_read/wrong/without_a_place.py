# rejected by: wrong-number
from concurrent.futures import ThreadPoolExecutor, wait

from labkit.practice.slow_server import Download


def read_in_time(urls, limit_s):
    downloads = [Download(url) for url in urls]
    with ThreadPoolExecutor(len(urls)) as pool:
        futures = [pool.submit(download.read) for download in downloads]
        done, _late = wait(futures, timeout=limit_s)
        for download in downloads:
            download.cancel()
    return [future.result() for future in futures if future in done]
