"""Tasks that a lesson sends to a cluster and follows through the history while it disturbs the cluster.

::

    work = send(cluster, 60 * [0.1])
    work.until_computing("worker-2")
    cluster.kill("worker-2")
    history = work.finish()

* Each task sleeps on its worker for the given time and computes nothing, so that three workers are three
  workers even on a laptop with two cores.
* A method ``until_...`` returns when the history shows what its name states, never after a fixed delay.
  After ``PATIENCE_S`` it raises LessonStalled, which names what is missing. If that cannot happen at all,
  because the broker or a worker is down or frozen, the error comes within seconds and names the remedy.
* ``finish`` returns the history of this work alone, without anything else that the cluster did.

One thread uses a Work, the notebook's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from labkit.classroom.stall_watch import LessonStalled, StallWatch
from labkit.core.errors import N_
from labkit.core.history import History, LiveView, excerpt
from labkit.jobs import entries_of, sleep_for

if TYPE_CHECKING:
    from labkit.client.futures import TaskFuture
    from labkit.cluster import Cluster

PATIENCE_S = 40.0
POLL_S = 0.005


class Work:
    """See the module's head; made by `send`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.futures: list[TaskFuture] = []
        self._client = cluster.client("lesson")
        self._read = len(cluster.history().events)
        self._ours: set[str] = set()
        self._live = LiveView(of=self._ours)

    def submit(self, function: Callable[..., Any], *args: Any, deadline_s: float | None = None) -> TaskFuture:
        """Submit one more call, and return its future."""
        future = self._client.submit(function, *args, deadline_s=deadline_s)
        self._ours.add(future.task_id)
        self.futures.append(future)
        return future

    # --- waiting --------------------------------------------------------------------------------------------

    def until_computing(self, worker: str) -> str:
        """Return the id of a task of this work that ``worker`` has begun and not ended.

        Raises LessonStalled at once if it is down or frozen, as after a click on the panel.
        """
        stalled = LessonStalled(
            N_("waited {seconds:.0f} s, in vain, for {worker} to compute; is this machine very busy?"),
            seconds=PATIENCE_S, worker=worker,
        )  # fmt: skip
        return str(self._until(lambda: self._live.worker(worker).computing, stalled, worker))

    def until_done(self, part: float) -> None:
        """Return when this part of the tasks (0.5: half of them) has an outcome."""
        wanted = part * len(self.futures)
        stalled = LessonStalled(
            N_("waited {seconds:.0f} s, in vain, for {part:.0%} of the tasks; is this machine very busy?"),
            seconds=PATIENCE_S, part=part,
        )  # fmt: skip
        self._until(lambda: len(self._live.ended) >= wanted, stalled)

    def until_seen(self, kind: str, worker: str) -> float:
        """Return when the broker saw this (lost, joined, suspect, left ...) happen to ``worker``.

        The last time since this work began, on the broker's clock.
        """
        stalled = LessonStalled(
            N_("waited {seconds:.0f} s, in vain, for {worker}'s event '{kind}'; is this machine very busy?"),
            seconds=PATIENCE_S, worker=worker, kind=kind,
        )  # fmt: skip
        return float(self._until(lambda: self._live.worker(worker).last_seen.get(kind), stalled))

    def until_noted(self, book: str) -> str:
        """Return the worker that has written to this book (see `labkit.jobs.note`) and computes."""
        stalled = LessonStalled(
            N_("waited {seconds:.0f} s, in vain, for an entry in the book; is this machine very busy?"),
            seconds=PATIENCE_S,
        )
        return str(self._until(lambda: entries_of(book) and self._at_work(), stalled))

    def _at_work(self) -> str:
        return next((name for name, worker in self._live.workers.items() if worker.computing), "")

    def finish(self) -> History:
        """Wait for every outcome, and for every worker that should be up; return the history of this work.

        A task that failed raises its own error.
        """
        for number, future in enumerate(self.futures, 1):
            self._until(future.done, self._incomplete(number))
            future.result()
        return self.end()

    def end(self) -> History:
        """As ``finish``, for work in which tasks are meant to fail."""
        self._until(lambda: len(self._live.ended) == len(self._ours), self._incomplete(len(self._ours)))
        self._client.close()
        self.cluster.wait_until_ready(PATIENCE_S)
        return History(excerpt(self.cluster.history().events, self._ours))

    def _incomplete(self, number: int) -> LessonStalled:
        return LessonStalled(
            N_("waited {seconds:.0f} s, in vain, for task {n} of {total}; is this machine very busy?"),
            seconds=PATIENCE_S, n=number, total=len(self._ours),
        )  # fmt: skip

    def _until(self, condition: Callable[[], Any], stalled: LessonStalled, worker: str | None = None) -> Any:
        """Return what ``condition`` returns when that is true; raise ``stalled``, or why it cannot become so.

        ``worker``: the worker that must be up for it; None: any worker will do.
        """
        deadline = time.monotonic() + PATIENCE_S
        watch = StallWatch(self.cluster, worker)
        while True:
            self._look()
            if found := condition():
                return found
            watch.raise_if_stalled()
            if time.monotonic() > deadline:
                raise stalled
            time.sleep(POLL_S)

    # --- the history ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        events = self.cluster.history().events
        new = events[self._read :]
        self._read += len(new)
        self._live.extend(new)


def send(cluster: Cluster, seconds: Iterable[float], every_s: float = 0.0) -> Work:
    """Send a task for each of ``seconds``, the time that it takes its worker; return at once, or, with
    ``every_s``, one after the other at this distance in time, or more."""
    work = Work(cluster)
    for duration in seconds:
        work.submit(sleep_for, duration)
        if every_s:
            time.sleep(every_s)  # from one to the next, and never faster in order to catch up
    return work
