"""The learner's side: calls the function, and looks which threads it has left running.

A read that is cancelled takes a moment to end here. A function that does not wait for its threads is
therefore found out every time, not only on a slow machine.
"""

from __future__ import annotations

import threading
import time
from types import ModuleType
from typing import Any

from labkit.practice.slow_server import Download, DownloadFailed

A_MOMENT_S = 0.3


def run(module: ModuleType, urls: list[str], limit_s: float) -> dict[str, Any]:
    """Return what read_in_time returned, and the names of the threads that are left."""
    read = Download.read

    def read_and_linger(download: Download) -> bytes:
        try:
            return read(download)
        except DownloadFailed:
            time.sleep(A_MOMENT_S)
            raise

    Download.read = read_and_linger  # type: ignore[method-assign, assignment]
    before = set(threading.enumerate())
    results = module.read_in_time(urls, limit_s)
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    return {"results": results, "left": left}
