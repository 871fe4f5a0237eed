"""The learner's side: measures three functions in four threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

THREADS = 4
ABOUT_S = 0.2


def measure(_module: ModuleType, name: str) -> list[float]:
    """Return wall-clock and processor seconds of four calls in four threads."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)  # the threads are to be ours
    picture = np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8)

    def waits() -> None:
        time.sleep(ABOUT_S)

    def holds() -> None:
        until = time.thread_time() + ABOUT_S / 2
        while time.thread_time() < until:
            sum(range(1_000))

    def releases() -> None:
        until = time.thread_time() + ABOUT_S
        while time.thread_time() < until:
            cv2.GaussianBlur(picture, (0, 0), 8)

    function = {"waits": waits, "holds": holds, "releases": releases}[name]
    began, computed = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(function) for _ in range(THREADS)]:
            future.result()
    return [time.perf_counter() - began, time.process_time() - computed]
