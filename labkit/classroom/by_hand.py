"""Two hand-written workers for a bug hunt: both compute correctly, but the broker gives up one of them.

Both are complete: the notebook shows the first and names the line in which the second differs.
"""

from __future__ import annotations

import time

from labkit.classroom.raw_peer import RawPeer
from labkit.core.protocol import messages as m


def one(me: RawPeer, task_s: float) -> None:
    """Do one task that takes ``task_s`` seconds."""
    me.send(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
    task = me.receive(m.Task)
    me.send(m.Started(task.task, task.attempt, 0))
    time.sleep(task_s)
    me.send(m.Done(task.task, task.attempt, task_s, me.compute(task)), m.WorkerGoodbye())


def other(me: RawPeer, task_s: float) -> None:
    """Do one task that takes ``task_s`` seconds."""
    me.send(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
    task = me.receive(m.Task)
    me.send(m.Started(task.task, task.attempt, 0))
    me.rest(task_s)
    me.send(m.Done(task.task, task.attempt, task_s, me.compute(task)), m.WorkerGoodbye())
