"""Placement: which task goes to which worker next, by the queue's order, the workers' credit and a policy.

Part of the scheduler; only the scheduler imports it. ``least_busy`` is read from the worker table's index in
constant time. Any other policy, a learner's too, is called with all workers that may get the task. If it
fails, the history gets the error and ``least_busy`` chooses for that task; a policy never stops the broker.
"""

from __future__ import annotations

from collections.abc import Iterator

from labkit.core import exception_text
from labkit.core import history as h
from labkit.core.broker.inputs import Output
from labkit.core.broker.policies import POLICIES, Policy, least_busy
from labkit.core.broker.records import OpenTask, Worker
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.history import Event

MAX_POLICY_ERRORS_REPORTED = 20


class Placement:
    """See the module's head. ``choose`` is a policy's name or a policy function."""

    def __init__(
        self,
        queue: TaskQueue,
        workers: WorkerTable,
        choose: str | Policy,
        output: Output,
    ) -> None:
        self.policy: Policy = POLICIES[choose] if isinstance(choose, str) else choose
        self._queue = queue
        self._workers = workers
        self._events = output.events
        self._counters = output.counters

    def pairs(self, now: float) -> Iterator[tuple[OpenTask, Worker]]:
        """Yield task and worker, one task a lane in turn, until no lane has both a task and a worker.

        Each task has left the queue; the caller charges it to the worker before taking the next pair.
        """
        queue = self._queue
        indexed = self.policy is least_busy
        lanes = list(queue.lanes)
        while lanes:
            still: list[frozenset[str]] = []
            for needs in lanes:
                worker = self._workers.least_busy(needs) if indexed else self._by_policy(needs, now)
                if worker is None:
                    continue
                yield queue.pop(needs), worker
                if needs in queue.lanes:
                    still.append(needs)
            lanes = still

    def _by_policy(self, needs: frozenset[str], now: float) -> Worker | None:
        eligible = self._workers.eligible(needs)
        if not eligible:
            return None
        try:
            chosen = self.policy(self._queue.head(needs), list(eligible), now)  # a list of its own
        except BaseException as error:  # noqa: BLE001 - a learner's code, even exit(), must not stop the broker
            return self._instead(exception_text.summary(error), needs, now)
        if chosen is None:
            return None
        for worker in eligible:
            if worker is chosen:
                return worker
        return self._instead(
            f"it chose {exception_text.repr_of(chosen)}, which it was not offered", needs, now
        )

    def _instead(self, why: str, needs: frozenset[str], now: float) -> Worker | None:
        self._counters["policy_errors"] += 1
        if self._counters["policy_errors"] <= MAX_POLICY_ERRORS_REPORTED:
            self._events.append(Event(now, h.POLICY_ERROR, "", 0, "", {"error": why[:200]}))
        return self._workers.least_busy(needs)
