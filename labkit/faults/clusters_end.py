"""Cases: workers are stopped politely, and the whole cluster goes down."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil

from labkit.cluster.local.start import sweep_private
from labkit.cluster.run_folder import RunFolder
from labkit.core import history as h
from labkit.core.errors import N_, ClientGone
from labkit.faults.case import case
from labkit.faults.test_bed import TestBed
from labkit.support import process_groups

DOWN_S = 3.0

OPENER = """
import time
from labkit import open_cluster
from labkit.jobs import hang, sleep_for
with open_cluster(2) as cluster:
    client = cluster.client("opener")
    client.submit(hang)
    for _ in range(1000): client.submit(sleep_for, 0.05)
    print(cluster.folder, flush=True)
    time.sleep(60)
"""
"""A program that opens a cluster, keeps it busy, and is killed."""


@case(
    "drained-stop",
    fault=N_("each worker is stopped politely while it computes, one after the other"),
    promise=N_("it finishes what it has begun and gives the rest back: nothing lost, nothing computed twice"),
)
def drained_stop(bed: TestBed) -> None:
    """Stop each worker when it has started a task; start it again."""
    client, work, judge = bed.client(), bed.work, bed.judge
    began = time.monotonic()
    took: list[float] = []
    for name in ("worker-1", "worker-2", "worker-3"):
        work.sleepers(client, 60, 0.03)
        bed.wait_for_start([name])
        asked_at = bed.cluster.stop(name)
        left = bed.wait_for(h.LEFT, worker=name, since=asked_at)
        took.append(left.at - asked_at)
        judge.recovered(left.at - asked_at)
        bed.cluster.start(name)
        bed.wait_for(h.JOINED, worker=name, since=left.at)
    bed.finish_work()
    bed.expect_no_loss()
    judge.within(N_("each gone after {seconds}"), max(took), bed.settings.rules.drain_s, began)
    starts = [event.task for event in bed.events(h.STARTED)]
    judge.count(N_("{n} tasks begun twice"), len(starts) - len(set(starts)), 0)


@case(
    "shutdown",
    fault=N_("the whole cluster goes down while it works"),
    promise=N_("down within 3 s; no process and no file is left; open tasks end with a named error"),
    redis=True,
)
def shutdown(bed: TestBed) -> None:
    """Close the cluster under load, and look for leftover processes and files."""
    client, work, judge = bed.client(), bed.work, bed.judge
    work.sleepers(client, 400, 0.05)
    bed.wait_for_start()
    state = bed.state()
    assert state is not None
    marks = dict(state["processes"])
    judge.true(N_("{n} processes before"), len(marks) >= 5, n=len(marks))
    began = time.monotonic()
    bed.cluster.close()
    took_s = time.monotonic() - began
    judge.within(N_("down after {seconds}"), took_s, DOWN_S, began)
    judge.recovered(took_s)
    left = [name for name, (pid, born) in marks.items() if process_groups.is_alive(pid, born)]
    judge.count(N_("{n} processes left"), len(left), 0)
    judge.true(N_("its folder is gone"), not bed.cluster.folder.exists())
    named = sum(
        future.done() and (future.exception() is None or isinstance(future.exception(), ClientGone))
        for future in work.futures
    )
    judge.count(N_("{n} of {wanted} tasks have an outcome"), named, len(work.futures))


@case(
    "all-killed",
    fault=N_("kill -9 of the supervisor and of the program that opened the cluster, one worker frozen"),
    promise=N_("each process of the cluster ends by itself; the next cluster removes the folder"),
    workers=0,
)
def all_killed(bed: TestBed) -> None:
    """Let a program open a cluster, and kill every process that would end it."""
    judge = bed.judge
    opener = bed.spawn("opener", [sys.executable, "-P", "-c", OPENER], {})
    printed = bed.wait_until(
        lambda: bed.printed("opener").strip(), N_("its cluster did not come up in {seconds:g} s")
    )
    folder = RunFolder(Path(printed))
    state = folder.read_state()
    assert state is not None
    marks = {name: (pid, born) for name, (pid, born) in state["processes"].items()}
    supervisor = marks.pop("supervisor")
    frozen = psutil.Process(marks["worker-2"][0])
    frozen.suspend()
    bed.wait_until(
        lambda: frozen.status() == psutil.STATUS_STOPPED, N_("it did not freeze within {seconds:g} s")
    )
    began = time.monotonic()
    os.kill(supervisor[0], process_groups.KILL)
    opener.kill()
    opener.wait(10)

    def left() -> list[str]:
        return [name for name, mark in marks.items() if process_groups.is_alive(*mark)]

    bed.wait_until(lambda: not left(), N_("some still ran after {seconds:g} s"), 20.0)
    judge.within(N_("all gone after {seconds}"), time.monotonic() - began, DOWN_S, began)
    judge.recovered(time.monotonic() - began)
    sweep_private()
    bed.wait_until(  # another program that opens a cluster just now may sweep first
        lambda: not folder.path.exists(), N_("its folder was still there after {seconds:g} s")
    )
    judge.true(N_("its folder is gone"), not folder.path.exists())
