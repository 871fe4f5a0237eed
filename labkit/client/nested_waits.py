"""Notices that a task waits for several tasks of its own: ``concurrent.futures.wait`` and ``as_completed``.

Both append an object of their own to the list of waiters of each future, and remove it at their end. Nothing
else shows that a thread waits. So a future that is made inside a task has a list that notices it, and the
broker receives a report, as for ``result`` (``labkit.core.broker.deadlock``).

Not reported are waits that end by themselves, with a limit below the task's lease, waits for futures that are
not all this client's, and waits for more than ``MOST`` tasks.

Source: ``concurrent/futures/_base.py``; the names used here are the same in Python 3.11 to 3.14. Where they
are not, a wait is not reported, and the lease ends it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from labkit.core.peers import client_events as ce
from labkit.support.current_task import CurrentTask

MOST = 256


class NestedWaits:
    """The waits of one client's futures. Its methods may be called by any thread."""

    def __init__(self, post: Callable[[ce.WaitsNow], object]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._waits: dict[int, tuple[CurrentTask, dict[bytes, None]]] = {}  # by the waiter's identity

    def began(self, waiter: object, inside: CurrentTask, caller: FrameType | None) -> None:
        """Note a waiter that was appended by ``caller``, and report what it waits for."""
        with self._lock:
            if id(waiter) in self._waits:
                return
            awaited = _awaited(inside, caller)
            self._waits[id(waiter)] = inside, awaited
        if awaited:
            self._report(inside, awaited)

    def ended(self, waiter: object) -> None:
        """Note that a waiter was removed."""
        with self._lock:
            inside, awaited = self._waits.pop(id(waiter), (None, {}))
        if inside is not None and awaited:
            self._report(inside, {})

    def outcome(self, task: bytes) -> None:
        """Note that a task has ended: what waits for it waits for the others now."""
        if not self._waits:
            return
        with self._lock:
            changed = [wait for wait in self._waits.values() if wait[1].pop(task, self) is None]
        for inside, awaited in changed:
            self._report(inside, awaited)

    def _report(self, inside: CurrentTask, awaited: dict[bytes, None]) -> None:
        self._post(ce.WaitsNow(inside.task, inside.attempt, tuple(awaited)))


def _awaited(inside: CurrentTask, caller: FrameType | None) -> dict[bytes, None]:
    """Return the tasks that ``wait`` or ``as_completed`` waits for; none if that need not be reported."""
    waits = None if caller is None else caller.f_back
    if caller is None or waits is None or "timeout" not in waits.f_locals:
        return {}
    timeout_s: float | None = waits.f_locals["timeout"]
    if timeout_s is not None and timeout_s < inside.lease_s:
        return {}
    futures: Any = caller.f_locals.get("fs", ())
    if len(futures) > MOST or not all(isinstance(one._waiters, Waiters) for one in futures):
        return {}
    return dict.fromkeys(one.task for one in futures if not one.done())


class Waiters(list[Any]):
    """A future's list of waiters, which reports each to ``NestedWaits``."""

    def __init__(self, waits: NestedWaits, inside: CurrentTask) -> None:
        super().__init__()
        self._nested = waits
        self._inside = inside

    def append(self, waiter: Any) -> None:
        """Append a waiter, as ``concurrent.futures`` does while it holds the futures' locks."""
        super().append(waiter)
        self._nested.began(waiter, self._inside, sys._getframe(1))

    def remove(self, waiter: Any) -> None:
        """Remove a waiter."""
        super().remove(waiter)
        self._nested.ended(waiter)
