"""Deadlock: running tasks that wait for tasks of the same cluster, which no slot is left to run.

Part of the scheduler; only the scheduler imports it. A client that a task has opened reports what the task
waits for (``Waits``). Rules:

* A running task is *stuck* if everything that it waits for is open and stuck.
* A worker is *held up* if tasks that wait occupy all its slots, or if a task waits there and one of its tasks
  is careful: that one runs alone. It gets nothing more, and what has not started there is taken back if
  another worker has room for it.
* A task that has not started is stuck if stuck tasks occupy all slots of all workers that can do it. If there
  are none, it waits for a worker, not for a slot. One that has started and reports no wait is computing: it
  is not stuck.

So the stuck tasks are the largest set for which this holds: assume all that wait, and take out those that may
go on until nothing changes. What is held up stays so for ever, unless a worker joins. The cluster gets
``GRACE`` times ``dead_s`` for that, from the last change among its workers, and ``broker_gone_s`` if one was
lost, because it is about to come back. Then the tasks that cannot start fail as DEADLOCK, all at once: if
only one failed, the next task of that kind would take the slot, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.records import OpenTask, Worker
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.protocol.rules import Rules

GRACE: Final = 1.5
MAX_WAITS: Final = 64
"""Tasks of one client that may wait at the same time: the slots of a worker's process."""


class Deadlock:
    """See the module's head."""

    def __init__(
        self,
        rules: Rules,
        tasks: dict[bytes, OpenTask],
        workers: WorkerTable,
        clients: ClientTable,
        now: float,
    ) -> None:
        self._rules = rules
        self._tasks = tasks
        self._workers = workers
        self._clients = clients
        self._quiet_since = now
        self.room_changed = False
        """Whether a worker may get something that could not before the last look, or the other way round."""
        self._since: dict[bytes, float] = {}  # stuck tasks that run, and since when they are

    def workers_changed(self, now: float) -> None:
        """Note that a worker joined or went, or that the broker slept: the grace begins again."""
        self._quiet_since = now

    def look(self, now: float) -> tuple[list[OpenTask], list[OpenTask]]:
        """Return the tasks that fail because of a deadlock, and those to take back from a held-up worker."""
        waiting = self._waiting()
        held_up = _held_up(waiting)
        self.room_changed = self._mark(held_up)
        misplaced = [
            task
            for task in (task for worker in held_up for task in worker.tasks.values())
            if task.started_at is None
            and any(
                self._workers.has_credit(worker) and not _is_closed_to(task, worker, waiting)
                for worker in self._able(task)
            )
        ]
        self._reduce(waiting)
        self._since = {task.id: self._since.get(task.id, now) for task in waiting}
        grace_s = GRACE * self._rules.dead_s
        since = max((self._quiet_since, *self._since.values()))
        if not waiting or now < since + grace_s or self._is_one_coming_back(now):
            return [], misplaced
        hopeless = {task.id: task for awaited in waiting.values() for task in awaited if task not in waiting}
        return list(hopeless.values()), misplaced

    def _is_one_coming_back(self, now: float) -> bool:
        return any(
            status == "lost" and now - worker.last_heard < self._rules.broker_gone_s
            for worker, status in self._workers.departed.values()
        )

    def _waiting(self) -> dict[OpenTask, list[OpenTask]]:
        """Return the running tasks that wait, each with what it waits for, if all of that is open."""
        waiting: dict[OpenTask, list[OpenTask]] = {}
        for client in self._clients:
            if not client.waits or client.route is None:
                continue
            for task_id, (attempt, awaited) in list(client.waits.items()):
                task = self._tasks.get(task_id)
                if task is None:
                    del client.waits[task_id]
                if task is None or task.worker is None or task.started_at is None or task.attempt != attempt:
                    continue
                if all(other in self._tasks for other in awaited):
                    waiting[task] = [self._tasks[other] for other in awaited]
        return waiting

    def _reduce(self, waiting: dict[OpenTask, list[OpenTask]]) -> None:
        """Take out of ``waiting`` all that may go on, so that what is stuck remains."""
        while True:
            held_up = _held_up(waiting)
            free = [
                task
                for task, awaited in waiting.items()
                if not all(
                    other in waiting or self._cannot_start(other, held_up, waiting) for other in awaited
                )
            ]
            if not free:
                return
            for task in free:
                del waiting[task]

    def _cannot_start(self, task: OpenTask, held_up: set[Worker], waiting: Mapping[OpenTask, object]) -> bool:
        able = self._able(task)
        return (
            task.started_at is None
            and bool(able)
            and all(worker in held_up or _is_closed_to(task, worker, waiting) for worker in able)
        )

    def _able(self, task: OpenTask) -> list[Worker]:
        return [worker for worker in self._workers if worker.can(task.needs)]

    def _mark(self, held_up: set[Worker]) -> bool:
        """Let held-up workers get nothing more, and others what they may get; return whether that changes."""
        changed = [worker for worker in self._workers if worker.held_up != (worker in held_up)]
        for worker in changed:
            worker.held_up = worker in held_up
            self._workers.touch(worker)
        return bool(changed)


def _held_up(waiting: Mapping[OpenTask, object]) -> set[Worker]:
    """Return the workers whose slots are all held by these tasks, or where a careful task is held up."""
    return {
        worker
        for worker in {task.worker for task in waiting if task.worker is not None}
        if sum(task in waiting for task in worker.tasks.values()) >= worker.slots
        or any(task.careful for task in worker.tasks.values())
    }


def _is_closed_to(task: OpenTask, worker: Worker, waiting: Mapping[OpenTask, object]) -> bool:
    """Return whether a task that waits in this worker keeps a careful one, which runs alone, from it."""
    return task.careful and any(other in waiting for other in worker.tasks.values())
