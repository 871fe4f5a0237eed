"""{title}"""

from __future__ import annotations

# SOLUTION
from concurrent.futures import ThreadPoolExecutor

# STUB
# END
from labkit.practice.slow_server import fetch


def read_all(urls: list[str]) -> list[bytes]:
    # SOLUTION
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(fetch, urls))
    # STUB
    # return [fetch(url) for url in urls]
    # END
