"""Cases: workers are stopped politely, and the whole cluster goes down."""

from __future__ import annotations

import time

from labkit.cluster import processes
from labkit.core import history as h
from labkit.core.errors import N_, ClientGone
from labkit.faults.case import case
from labkit.faults.stand import Stand

DOWN_S = 3.0


@case(
    "drained-stop",
    fault=N_("each worker is stopped politely while it computes, one after the other"),
    promise=N_("it finishes what it has begun and gives the rest back: nothing lost, nothing computed twice"),
)
def drained_stop(stand: Stand) -> None:
    """Stop each worker when it has started a task; start it again."""
    client, work, judge = stand.client(), stand.work, stand.judge
    began = time.monotonic()
    took: list[float] = []
    for name in ("worker-1", "worker-2", "worker-3"):
        work.sleepers(client, 60, 0.03)
        stand.wait_for_start([name])
        asked_at = stand.cluster.stop(name)
        left = stand.wait_for(h.LEFT, worker=name, since=asked_at)
        took.append(left.at - asked_at)
        judge.recovered(left.at - asked_at)
        stand.cluster.start(name)
        stand.wait_for(h.JOINED, worker=name, since=left.at)
    stand.finish_work()
    stand.blame_nobody()
    judge.within(N_("each gone after {seconds}"), max(took), stand.settings.rules.drain_s, began)
    starts = [event.task for event in stand.events(h.STARTED)]
    judge.count(N_("{n} tasks begun twice"), len(starts) - len(set(starts)), 0)


@case(
    "shutdown",
    fault=N_("the whole cluster goes down while it works"),
    promise=N_("down within 3 s; no process and no file is left; what is open ends by name"),
    redis=True,
)
def shutdown(stand: Stand) -> None:
    """Close the cluster under load, and look for what is left of it."""
    client, work, judge = stand.client(), stand.work, stand.judge
    work.sleepers(client, 400, 0.05)
    stand.wait_for_start()
    state = stand.cluster._run_folder.read_state() or {}
    marks = dict(state["processes"])
    judge.true(N_("{n} processes before"), len(marks) >= 5, n=len(marks))
    began = time.monotonic()
    stand.cluster.close()
    took_s = time.monotonic() - began
    judge.within(N_("down after {seconds}"), took_s, DOWN_S, began)
    judge.recovered(took_s)
    left = [name for name, (pid, born) in marks.items() if processes.is_alive(pid, born)]
    judge.count(N_("{n} processes left"), len(left), 0)
    judge.true(N_("its folder is gone"), not stand.cluster.folder.exists())
    named = sum(
        future.done() and (future.exception() is None or isinstance(future.exception(), ClientGone))
        for future in work.futures
    )
    judge.count(N_("{n} of {wanted} tasks have an outcome"), named, len(work.futures))
