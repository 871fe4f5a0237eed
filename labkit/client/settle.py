"""Gives futures their outcomes, whatever users do with the same futures.

A future is the user's object. A user may resolve it (``set_result``, ``set_exception``), mark it as running,
or attach functions that raise. The first outcome of a future stands, and none of this ends the calling
thread, because that thread resolves the futures of all other tasks too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

from labkit.support.tracebacks import log_failure

log = logging.getLogger(__name__)


def succeed(future: Future[Any], value: Any) -> None:
    """Set the result, unless the future has an outcome already."""
    _settle(lambda: future.set_result(value))


def fail(future: Future[Any], error: BaseException) -> None:
    """Set the exception, unless the future has an outcome already."""
    _settle(lambda: future.set_exception(error))


def mark_running(future: Future[Any]) -> None:
    """Make a pending future a running one."""
    if not future.running() and not future.done():
        _settle(future.set_running_or_notify_cancel)


def cancel(future: Future[Any]) -> None:
    """Cancel a future without an outcome, and wake the threads that wait for several futures.

    A future that was running fails with CancelledError: its task was requeued, and then cancelled.
    """
    if future.done():
        return
    if Future.cancel(future):
        _settle(future.set_running_or_notify_cancel)
    else:
        fail(future, CancelledError())


def _settle(settle: Callable[[], object]) -> None:
    try:
        settle()
    except (InvalidStateError, RuntimeError):
        return  # the user was faster: the user's outcome stands
    except BaseException as error:  # noqa: BLE001 - a function that the user attached, even one that exits
        log_failure(log, "a function attached to a future failed", error)
