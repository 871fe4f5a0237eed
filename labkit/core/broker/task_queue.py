"""The queue of the tasks that wait for a worker.

The queue keeps three orders at once, each in constant time per task:

* within one client: first in, first out; a requeued task goes to the front, because it is the oldest;
* among clients: one task each in turn, so that a flood by one does not delay another;
* among needs (the capabilities that a task's worker must have): each set of needs has its turn, and tasks
  that no living worker can do never block others.

A task may also be *set aside*: it is queued, but no worker gets it until it is released.

A *lane* is all tasks with the same needs. It holds one ordered dictionary per client, because a cancelled
task leaves from the middle.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from labkit.core.broker.records import OpenTask

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
        """Queue a task that no worker gets before it is released, which is due at ``until``."""
        task.release_at = until
        self.aside[task.id] = task
        self.count += 1

    def release(self, task: OpenTask) -> None:
        """Let a task that was set aside be the next one that ``pop`` takes."""
        del self.aside[task.id]
        self.count -= 1
        self.push(task, front=True)

    def remove(self, task: OpenTask) -> None:
        """Remove a queued task from its place: cancelled, expired, or ended by a late result."""
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
