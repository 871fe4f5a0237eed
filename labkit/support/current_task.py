"""Which task the calling thread computes, if it is a worker's, and which tasks run in this process.

A worker sets it while it computes a task. A client asks for it when its user waits for a result: a task that
waits for another task of the same cluster may wait for ever (``labkit.core.broker.deadlock``). A thread that
a task has started is not the task, but the task may wait for it (``labkit.client.process_waits``).
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple


class CurrentTask(NamedTuple):
    """An attempt that this thread computes."""

    task: bytes
    attempt: int
    lease_s: float


_here = threading.local()
_running: dict[int, CurrentTask] = {}  # by the thread that computes it


def set_current(task: CurrentTask | None) -> None:
    """Note that this thread computes this task from now on, or none."""
    _here.task = task
    if task is None:
        _running.pop(threading.get_ident(), None)
    else:
        _running[threading.get_ident()] = task


def current() -> CurrentTask | None:
    """Return the task that this thread computes, or None."""
    return getattr(_here, "task", None)


def is_in_worker() -> bool:
    """Return whether any thread of this process computes a task now."""
    return bool(_running)


def running() -> dict[int, CurrentTask]:
    """Return the tasks that this process computes now, by the thread that computes each."""
    return dict(_running)


def _in_forked_child() -> None:
    """A child of a task's process is not the task: what it waits for holds up no slot."""
    _running.clear()
    _here.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
