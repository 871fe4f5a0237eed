"""The thread that calls the callbacks of futures, so that a slow one does not delay the I/O loop."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from labkit.support.tracebacks import log_failure

log = logging.getLogger(__name__)


class Callbacks:
    """Calls functions one after the other in a thread of its own, which starts with the first one."""

    THREAD: Final = "labkit-callbacks"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Callable[[], object] | None] | None = None

    def put(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called soon.

        Raises RuntimeError if no thread can be started; the next call tries again.
        """
        with self._lock:
            if self._queue is None:
                callbacks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
                thread = threading.Thread(target=self._run, args=(callbacks,), name=self.THREAD, daemon=True)
                thread.start()
                self._queue = callbacks
            self._queue.put(callback)

    def close(self) -> None:
        """End the thread after the callbacks that were put before. A later one gets a new thread."""
        with self._lock:
            if self._queue is not None:
                self._queue.put(None)
                self._queue = None

    @staticmethod
    def _run(callbacks: queue.SimpleQueue[Callable[[], object] | None]) -> None:
        while (callback := callbacks.get()) is not None:
            try:
                callback()
            except BaseException as error:  # noqa: BLE001 - even by sys.exit(): the thread serves all futures
                log_failure(log, "a callback of a future failed", error)
