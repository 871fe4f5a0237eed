"""Two workers for a bug hunt, played by hand: both do their task right, and one is given up for dead.

Each stands here whole: the notebook shows the first, and says in which line the other differs.
"""

from __future__ import annotations

import time

from labkit.classroom.raw_peer import Peer
from labkit.core.protocol import messages as m


def one(me: Peer, task_s: float) -> None:
    """Do one task that takes ``task_s`` seconds."""
    me.say(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
    task = me.hear(m.Task)
    me.say(m.Started(task.task, task.attempt, 0))
    time.sleep(task_s)
    me.say(m.Done(task.task, task.attempt, task_s, me.compute(task)), m.WorkerGoodbye())


def other(me: Peer, task_s: float) -> None:
    """Do one task that takes ``task_s`` seconds."""
    me.say(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
    task = me.hear(m.Task)
    me.say(m.Started(task.task, task.attempt, 0))
    me.rest(task_s)
    me.say(m.Done(task.task, task.attempt, task_s, me.compute(task)), m.WorkerGoodbye())
