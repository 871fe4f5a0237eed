"""Tasks with known results, and how often the future of each was resolved."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture


class Work:
    """See the module's head. Tasks may be added while others run; callbacks come from the client's thread."""

    def __init__(self) -> None:
        self.futures: list[TaskFuture] = []
        self._expected: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._resolved: Counter[str] = Counter()

    def add(self, future: TaskFuture, expected: Any) -> TaskFuture:
        """Add a task that was submitted, and return its future.

        ``expected`` is its result; an exception's class, if it is to fail with that.
        """
        self.futures.append(future)
        self._expected[future.task_id] = expected
        future.add_done_callback(self._count)
        return future

    def submit(
        self, client: Client, job: Callable[..., Any], *arguments: Any, expected: Any, **options: Any
    ) -> TaskFuture:
        """Submit ``job(*arguments)`` and return its future; ``options`` as for ``Client.submit``."""
        return self.add(client.submit(job, *arguments, **options), expected)

    def sleepers(self, client: Client, n: int, seconds: float) -> list[TaskFuture]:
        """Return the futures of ``n`` tasks that sleep ``seconds`` each, every one with its own result."""
        from labkit.jobs import sleep_for

        takes = [seconds + number * 1e-6 for number in range(n)]
        return [self.submit(client, sleep_for, each, expected=each) for each in takes]

    @property
    def tasks(self) -> set[str]:
        """The ids of all tasks."""
        return set(self._expected)

    @property
    def done(self) -> int:
        """How many have their outcome."""
        return sum(future.done() for future in self.futures)

    @property
    def right(self) -> int:
        """How many have the expected outcome."""
        return sum(self._is_right(future) for future in self.futures)

    @property
    def resolutions(self) -> Counter[str]:
        """How often each task's future was resolved, by task."""
        with self._lock:
            return Counter(self._resolved)

    def _count(self, future: Future[Any]) -> None:
        with self._lock:
            self._resolved[future.task_id] += 1  # type: ignore[attr-defined]

    def _is_right(self, future: TaskFuture) -> bool:
        if not future.done() or future.cancelled():
            return False
        expected, error = self._expected[future.task_id], future.exception()
        if isinstance(expected, type) and issubclass(expected, BaseException):
            return isinstance(error, expected)
        return error is None and _equal(future.result(), expected)


def _equal(result: Any, expected: Any) -> bool:
    if hasattr(expected, "shape"):
        import numpy as np

        return bool(np.array_equal(result, expected))
    return bool(result == expected)
