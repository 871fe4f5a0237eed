"""Tells a slow machine from slow code: how much time this process wanted to run and could not."""

from __future__ import annotations

import threading
import time

TICK_S = 0.02


class Pacer:
    """``with Pacer() as pacer``: a thread that sleeps for short ticks and adds up how late each one ends."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def __enter__(self) -> Pacer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(TICK_S):
            now = time.monotonic()
            self.late_s += max(0.0, now - before - 2 * TICK_S)
            before = now
