"""A future of Python's own pools that its user may resolve, and whose callbacks may exit.

The threads of a pool set the outcome of their futures and call the callbacks. If a user has resolved such a
future, or a callback exits, that ends the pool's thread, and with it (one thread, or the only thread that
manages a pool of processes) every other call. So the pool keeps its own future, and the user gets this one,
which takes over the outcome.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from labkit.client import settle
from labkit.support.tracebacks import log_failure

log = logging.getLogger(__name__)


class PoolFuture(Future[Any]):
    """Has the outcome of ``pools_own``, the pool's future, unless its user is faster."""

    def __init__(self, pools_own: Future[Any]) -> None:
        super().__init__()
        self._pools_own: Future[Any] | None = pools_own
        pools_own.add_done_callback(self._take)

    def _take(self, pools_own: Future[Any]) -> None:
        self._pools_own = None  # each would keep the other
        if pools_own.cancelled():
            settle.cancel(self)
        elif (error := pools_own.exception()) is not None:
            settle.fail(self, error)
        else:
            settle.succeed(self, pools_own.result())

    def running(self) -> bool:
        """Return whether the call is being executed."""
        pools_own = self._pools_own
        return not self.done() and pools_own is not None and pools_own.running()

    def cancel(self) -> bool:
        """Cancel the call if it has not started."""
        pools_own = self._pools_own
        if pools_own is not None and not self.done():
            pools_own.cancel()
        return self.cancelled()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have ``fn`` called with this future when it is done; in a pool's thread it may raise anything."""
        adding = threading.get_ident()

        def call(future: Future[Any]) -> None:
            if threading.get_ident() == adding:
                fn(future)
                return
            try:
                fn(future)
            except BaseException as error:  # noqa: BLE001 - even by sys.exit(): the thread serves all futures
                log_failure(log, "a callback of a future failed", error)

        super().add_done_callback(call)
