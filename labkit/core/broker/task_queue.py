"""A task as the broker sees it, and the queue in which it waits.

The queue keeps three orders at once, each in constant time per task:

* within one client: first in, first out; a requeued task goes to the front, because it is the oldest;
* among clients: one task each in turn, so that a flood by one does not delay another;
* among needs: tasks that no living worker can do never block others, and each kind has its turn.

A task may also be *set aside*: it is queued, but nobody gets it until it is released.

So a *lane* is all tasks with the same needs, and a lane holds one ordered dictionary per client (ordered
dictionaries because a cancelled task leaves from the middle).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from labkit.core.protocol.messages import Payload

if TYPE_CHECKING:
    from labkit.core.broker.client_table import ClientRecord
    from labkit.core.broker.worker_table import Worker


class State(Enum):
    """Where an open task is. A task that has ended is in no table any more; the history tells of it."""

    QUEUED = "queued"
    ASSIGNED = "assigned"


class OpenTask:
    """One accepted task without an outcome yet. Implements ``policies.TaskView``."""

    __slots__ = (
        "attempt", "careful", "client", "crashed", "deadline", "expected_s", "hex", "holders", "hung",
        "id", "job", "lease_s", "needs", "payload", "release_at", "silences", "size", "started_at", "state",
        "tick", "worker",
    )  # fmt: skip

    def __init__(
        self, id: bytes, client: ClientRecord, job: str, needs: frozenset[str], lease_s: float,
        deadline: float,
        payload: Payload,
    ) -> None:  # fmt: skip
        self.id = id
        self.hex = id.hex()
        self.client = client
        self.job = job
        self.needs = needs
        self.lease_s = lease_s
        self.deadline = deadline
        self.payload = payload
        self.size = payload.size
        self.tick = 0
        self.state = State.QUEUED
        self.attempt = 0
        self.worker: Worker | None = None
        self.started_at: float | None = None
        self.expected_s = 0.0
        self.crashed: tuple[bytes, ...] = ()  # the processes (instances) that died while it ran in them
        self.hung: frozenset[int] = frozenset()  # the attempts that outran their lease
        self.silences = 0  # how many workers fell silent while they had it
        self.careful = False
        self.release_at = 0.0  # if it is set aside
        # Which worker (id and epoch) each attempt was taken from; empty for most tasks.
        self.holders: dict[int, bytes] = {}

    @property
    def crashes(self) -> int:
        """How many processes died while it ran in them, as far as there is evidence."""
        return len(self.crashed)

    @property
    def hangs(self) -> int:
        """How often it has outrun its lease."""
        return len(self.hung)


Lane = OrderedDict[bytes, "OrderedDict[bytes, OpenTask]"]  # client id -> task id -> task


class TaskQueue:
    """All queued tasks."""

    def __init__(self) -> None:
        self.lanes: OrderedDict[frozenset[str], Lane] = OrderedDict()
        self.aside: dict[bytes, OpenTask] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[OpenTask]:
        for lane in self.lanes.values():
            for tasks in lane.values():
                yield from tasks.values()
        yield from self.aside.values()

    def push(self, task: OpenTask, front: bool = False) -> None:
        """Queue a task, last of its client; with ``front`` it is the next one that ``pop`` takes."""
        lane = self.lanes.get(task.needs)
        if lane is None:
            lane = self.lanes[task.needs] = OrderedDict()
        tasks = lane.get(task.client.id)
        if tasks is None:
            tasks = lane[task.client.id] = OrderedDict()
        tasks[task.id] = task
        if front:
            tasks.move_to_end(task.id, last=False)
            lane.move_to_end(task.client.id, last=False)
            self.lanes.move_to_end(task.needs, last=False)
        self.count += 1

    def head(self, needs: frozenset[str]) -> OpenTask:
        """Return the task that ``pop`` would take from this lane, which must not be empty."""
        return next(iter(next(iter(self.lanes[needs].values())).values()))

    def pop(self, needs: frozenset[str]) -> OpenTask:
        """Take the next task of a lane; its client and the lane go to the end of their turns."""
        lane = self.lanes[needs]
        client, tasks = next(iter(lane.items()))
        _, task = tasks.popitem(last=False)
        if tasks:
            lane.move_to_end(client)
        else:
            self._drop(needs, lane, client)
        if lane:
            self.lanes.move_to_end(needs)
        self.count -= 1
        return task

    def set_aside(self, task: OpenTask, until: float) -> None:
        """Queue a task that nobody is to get before it is released, which is due at ``until``."""
        task.release_at = until
        self.aside[task.id] = task
        self.count += 1

    def release(self, task: OpenTask) -> None:
        """Let a task that was set aside be the next one that ``pop`` takes."""
        del self.aside[task.id]
        self.count -= 1
        self.push(task, front=True)

    def remove(self, task: OpenTask) -> None:
        """Take a queued task out of the middle (cancelled, expired, or its late result came)."""
        if task.id in self.aside:
            del self.aside[task.id]
            self.count -= 1
            return
        lane = self.lanes[task.needs]
        tasks = lane[task.client.id]
        del tasks[task.id]
        if not tasks:
            self._drop(task.needs, lane, task.client.id)
        self.count -= 1

    def _drop(self, needs: frozenset[str], lane: Lane, client: bytes) -> None:
        del lane[client]
        if not lane:
            del self.lanes[needs]
