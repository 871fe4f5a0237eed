"""Which task the calling thread computes, if it is a worker's.

A worker sets it while it computes a task. A client asks for it when its user waits for a result: a task that
waits for another task of the same cluster may wait for ever (``labkit.core.broker.deadlock``). A thread that
a task has started is not the task: what it waits for holds up no slot.
"""

from __future__ import annotations

import threading
from typing import NamedTuple


class CurrentTask(NamedTuple):
    """An attempt that this thread computes."""

    task: bytes
    attempt: int
    lease_s: float


_here = threading.local()


def set_current(task: CurrentTask | None) -> None:
    """Note that this thread computes this task from now on, or none."""
    _here.task = task


def current() -> CurrentTask | None:
    """Return the task that this thread computes, or None."""
    return getattr(_here, "task", None)
