"""{title}"""

from __future__ import annotations

# SOLUTION
from concurrent.futures import ThreadPoolExecutor, wait

# STUB
# END
from labkit.practice.slow_server import Download


def read_in_time(urls: list[str], limit_s: float) -> list[bytes | None]:
    # SOLUTION
    downloads = [Download(url) for url in urls]
    with ThreadPoolExecutor(len(downloads)) as pool:
        futures = [pool.submit(download.read) for download in downloads]
        _done, late = wait(futures, timeout=limit_s)
        for download, future in zip(downloads, futures, strict=True):
            if future in late:
                download.cancel()
    return [None if future in late else future.result() for future in futures]
    # STUB
    # return [Download(url).read() for url in urls]
    # END
