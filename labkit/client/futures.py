"""What the user holds while tasks are away: a future for one task, or a batch for very many.

A future is familiar to Python programs, but it has a lock and callbacks of its own. For a task that takes
five microseconds to compute, that is most of the cost. ``Batch`` gives the same guarantee for a whole
``map``: results in the order of the calls, each once, without a future for each.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from labkit.calls import serialization
from labkit.client import process_waits
from labkit.core.errors import LabkitError
from labkit.core.peers.client_events import Call
from labkit.core.peers.task_errors import task_error, unreadable_result
from labkit.core.protocol import messages as m
from labkit.support import current_task
from labkit.support.current_task import CurrentTask


class Client(Protocol):
    """What futures and batches need of the client that made them (``labkit.client.client.Client``)."""

    def cancel(self, future: TaskFuture) -> bool:
        """Cancel a task that has not started."""

    def call_back(self, fn: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        """Call ``fn`` in a thread where it may block."""

    def submit_for(self, batch: Batch, calls: Iterable[Call]) -> None:
        """Submit a batch's calls; each outcome goes to ``batch.take``."""

    def forget(self, batch: Batch, tasks: Iterable[bytes]) -> None:
        """Cancel a batch's tasks and drop their outcomes."""

    def wait_for(
        self, done: Callable[[], bool], block: Callable[[float | None], object], ends_at: float | None
    ) -> None:
        """Return when ``done()``, or after ``block(timeout_s)``."""

    def nested_waiters(self, inside: CurrentTask) -> list[Any]:
        """Return a new list of waiters for a future that the task ``inside`` makes."""

    def wait_inside(
        self,
        inside: CurrentTask,
        awaited: bytes,
        done: Callable[[], bool],
        block: Callable[[float | None], object],
        ends_at: float | None,
    ) -> None:
        """Do what ``wait_for`` does, and report that the task ``inside`` waits for the task ``awaited``."""


class TaskFuture(Future[Any]):
    """A future that knows its task: ``task_id`` (32 hex digits), and, once known, ``worker`` and ``attempt``.

    ``cancel`` succeeds unless this client knows that a worker has started the task, or has its outcome. It
    returns at once, whatever the broker does, so it may be called in an asyncio loop. After True there will
    be no other outcome: the broker receives the cancellation, and the result of a worker that has begun
    meanwhile is dropped.
    """

    def __init__(self, client: Client, task: bytes) -> None:
        super().__init__()
        self._client = client
        self.task = task
        if (inside := current_task.current()) is not None:
            self._waiters = client.nested_waiters(inside)
        self.worker: str | None = None
        self.attempt = 0
        self.compute_s: float | None = None

    @property
    def task_id(self) -> str:
        """The task's id as the history and Redis show it."""
        return self.task.hex()

    def cancel(self) -> bool:
        """Cancel the task if it has not started; see the class."""
        if self.cancelled():
            return True
        if self.running() or self.done():
            return False
        return self._client.cancel(self) or self.cancelled()  # another thread may have cancelled it now

    def result(self, timeout: float | None = None) -> Any:
        """Like ``Future.result``; while waiting, this thread leads the I/O loop."""
        try:
            self._wait(timeout)
            return super().result(0)
        finally:
            del self  # the exception's traceback refers to this frame: together they would form a cycle

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Like ``Future.exception``; while waiting, this thread leads the I/O loop."""
        self._wait(timeout)
        return super().exception(0)

    def wait(self) -> None:
        """Return when it has an outcome, whichever; while waiting, this thread leads the I/O loop."""
        with suppress(CancelledError):
            self._wait(None)

    def _wait(self, timeout: float | None) -> None:
        if not self.done():
            ends_at = None if timeout is None else time.monotonic() + timeout
            _wait_for(self._client, self.task, self.done, super().exception, ends_at)

    @property
    def is_awaited(self) -> bool:
        """Whether its outcome calls a callback, or ends a ``wait`` or ``as_completed``."""
        return bool(self._done_callbacks or self._waiters)  # type: ignore[attr-defined]

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have ``fn`` called with this future when it is done, in a thread where it may block."""
        super().add_done_callback(partial(self._client.call_back, fn))


def _wait_for(
    client: Client,
    task: bytes,
    done: Callable[[], bool],
    block: Callable[[float | None], object],
    ends_at: float | None,
) -> None:
    """Wait for one task, in a program, in a task, or in a thread that a task has started."""
    if not current_task.is_in_worker():
        client.wait_for(done, block, ends_at)
        return
    with process_waits.blocked((task,), ends_at):
        if (inside := current_task.current()) is None:
            client.wait_for(done, block, ends_at)
        else:
            client.wait_inside(inside, task, done, block, ends_at)


def value_of(call: Call, message: Any, of_chunk: bool = False) -> Any:
    """Return the decoded result of a call. Raises ResultUnreadable."""
    try:
        return serialization.decode_value(message.payload, of_chunk)
    except Exception as error:  # even a MemoryError is the outcome of this task only
        raise unreadable_result(call, message, error) from error


Ending = m.Result | m.Failed | m.CancelReply | LabkitError
"""The outcome of a call of a batch; an error if the client was closed."""


class Batch:
    """Many calls of one client, whose results are read in order by one thread.

    ``submit`` may be called several times before ``results``. Unread results are kept encoded; the thread
    that reads them decodes them. ``of_chunks``: the result of each call is that of a chunk.
    """

    def __init__(self, client: Client, of_chunks: bool = False) -> None:
        self._of_chunks = of_chunks
        self._client = client
        self._order: deque[Call] = deque()
        self._arrived: dict[bytes, Ending] = {}  # an error: the client was closed
        self._wanted: bytes | None = None
        self._news = threading.Event()

    def submit(self, calls: Iterable[Call]) -> None:
        """Submit these calls, after those that were submitted before."""
        calls = list(calls)
        self._order.extend(calls)
        self._client.submit_for(self, calls)

    def results(
        self, ends_at: float | None = None, refill: Callable[[], object] | None = None
    ) -> Generator[Any, None, None]:
        """Yield each call's result in order. The first exception ends it; an early end cancels the rest.

        Raises TimeoutError after ``ends_at``, an instant of ``time.monotonic``. ``refill`` is called before
        each result, and may submit more calls.
        """
        try:
            while self._order:
                if refill is not None:
                    refill()
                call = self._order[0]
                message = self._wait_for(call.task, ends_at)
                self._order.popleft()
                if type(message) is m.CancelReply:
                    raise CancelledError
                if isinstance(message, LabkitError):
                    raise message
                if type(message) is m.Failed:
                    raise task_error(call, message)
                yield value_of(call, message, self._of_chunks)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the calls that have not started and drop the others; does not wait."""
        self._client.forget(self, [call.task for call in self._order])
        self._order.clear()
        self._arrived.clear()

    def take(self, task: bytes, message: Ending) -> None:
        """Accept a task's outcome; called once a task, by the leader of the I/O loop."""
        self._arrived[task] = message
        if self._wanted == task:
            self._news.set()

    def _wait_for(self, task: bytes, ends_at: float | None) -> Ending:
        arrived = self._arrived
        while task not in arrived:
            self._news.clear()
            self._wanted = task
            if task not in arrived:  # it may have arrived between the two lines above
                _wait_for(self._client, task, lambda: task in arrived, self._news.wait, ends_at)
                if task not in arrived and ends_at is not None and time.monotonic() >= ends_at:
                    raise TimeoutError
        self._wanted = None
        return arrived.pop(task)
