"""The thread that calls the callbacks of futures, so that a slow one does not delay the I/O loop."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Callbacks:
    """Calls functions one after the other in a thread of its own, which starts with the first one."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] | None = None

    def put(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called soon. Only one thread at a time may call this."""
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            threading.Thread(
                target=self._run, args=(self._queue,), name="labkit-callbacks", daemon=True
            ).start()
        self._queue.put(callback)

    def close(self) -> None:
        """End the thread after the callbacks that were put before."""
        if self._queue is not None:
            self._queue.put(None)

    @staticmethod
    def _run(callbacks: queue.SimpleQueue[Callable[[], object] | None]) -> None:
        while (callback := callbacks.get()) is not None:
            try:
                callback()
            except Exception:  # the user's code may raise anything; concurrent.futures, too, logs and goes on
                log.exception("a callback of a future failed")
