"""Cases: tasks that kill their worker, hang, raise, or that no worker can run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from labkit.client.futures import TaskFuture
from labkit.core import history as h
from labkit.core.errors import N_, NoWorker, TaskFailed, TaskHung, TaskPoisoned
from labkit.core.protocol import exit_codes
from labkit.faults.case import case
from labkit.faults.test_bed import CannotTry, TestBed
from labkit.jobs import crash, fail, hang, hog, process_image

EXIT_HUNG, EXIT_LOCKED = f"exit {exit_codes.HUNG}", "SIGPROF"
LEASE_S = 0.5
LOCKED_LEASE_S = 1.5
"""With a shorter lease the watchdog would act before the broker, and no worker would fall silent."""
DEADLINE_S = 1.0


def among_good_ones(bed: TestBed, job: Callable[..., Any], *arguments: Any, **options: Any) -> TaskFuture:
    """Submit a bad task between good ones; return its future when all have an outcome."""
    client, work = bed.client(), bed.work
    work.sleepers(client, 30, 0.02)
    bad = work.submit(client, job, *arguments, **options)
    work.sleepers(client, 60, 0.02)
    bed.finish_work()
    return bad


@case(
    "poison-task",
    fault=N_("a task that kills its worker, among good ones"),
    promise=N_("POISONED after 3 crashes; no other task is blamed or lost"),
)
def poison_task(bed: TestBed) -> None:
    """Submit ``crash`` among good tasks."""
    poison, judge = among_good_ones(bed, crash, expected=TaskPoisoned), bed.judge
    crashes = [event.detail["crashes"] for event in bed.events(h.POISONED, task=poison.task_id)]
    judge.count(N_("{n} crashes counted against it"), sum(crashes), bed.settings.rules.max_crashes)
    failed = {event.task for event in bed.events(h.FAILED)}
    judge.count(N_("{n} other tasks failed"), len(failed - {poison.task_id}), 0)
    error = str(poison.exception())
    judge.true(N_("the error names the task and the worker"), poison.task_id in error and "worker-" in error)
    for recovery in bed.history.recoveries():
        judge.recovered(recovery.restored_s)


@case(
    "hung-task",
    fault=N_("a task that never returns"),
    promise=N_("its worker leaves with exit code 86 after the lease and is replaced; then it fails"),
)
def hung_task(bed: TestBed) -> None:
    """Submit ``hang`` with a lease of half a second, among good tasks."""
    hung, judge = among_good_ones(bed, hang, expected=TaskHung, lease_s=LEASE_S), bed.judge
    attempts = bed.events(h.STARTED, task=hung.task_id)
    judge.count_unless_slow(N_("{n} attempts"), len(attempts), bed.settings.rules.max_hangs, bed.silencing_s)
    ends = [*bed.events(h.REQUEUED, task=hung.task_id), *bed.events(h.FAILED, task=hung.task_id)]
    took = [end.at - start.at for start, end in zip(attempts, ends, strict=False)]
    judge.within(N_("reported after {seconds}"), max(took), LEASE_S + 0.5, attempts[0].at)
    judge.detected(max(took))
    expect_replaced(bed, {event.worker for event in attempts}, EXIT_HUNG)


def expect_replaced(bed: TestBed, holders: set[str], end: str) -> None:
    """Claim that each of these workers ended in this way and was started again; wait until it is so."""

    def replaced() -> bool:
        rows = {row["name"]: row for row in bed.cluster.status()["processes"]}
        return all(rows[name]["last_exit"] == end and rows[name]["restarts"] for name in holders)

    bed.wait_until(replaced, N_("its workers were not replaced within {seconds:g} s"))
    bed.wait_until_ready()
    bed.judge.true(N_("each worker that had it was replaced"), replaced())


@case(
    "locked-task",
    fault=N_("a task that keeps the interpreter lock and never returns"),
    promise=N_(
        "its workers' watchdogs end them; it fails as POISONED, with the line in the log; others are done"
    ),
)
def locked_task(bed: TestBed) -> None:
    """Submit ``hog``, which silences its whole process, among good tasks."""
    if sys.platform == "win32":
        raise CannotTry(N_("Windows has no timer of processor time that ends a process"))
    locked, judge = among_good_ones(bed, hog, expected=TaskPoisoned, lease_s=LOCKED_LEASE_S), bed.judge
    # A first attempt that takes the lock at once cannot be reported; a repeated one is, before it runs.
    starts = bed.events(h.STARTED, task=locked.task_id)
    judge.count_unless_slow(
        N_("{n} starts on record"), len(starts), bed.settings.rules.max_crashes, bed.silencing_s
    )
    silent = [
        (event.at - start.at, start.at)
        for event in bed.events(h.LOST)
        for start in starts
        if event.detail["cause"] == "silent" and event.worker == start.worker and event.at > start.at
    ]
    if silent:
        took_s, began_at = min(silent)
        judge.within(N_("silent, and given up after {seconds}"), took_s, 2.5, began_at)
        judge.detected(took_s)
    holders = {event.worker for event in starts}
    expect_replaced(bed, holders, EXIT_LOCKED)
    logged = all("in hog" in bed.cluster.logs(name, lines=200) for name in holders)
    judge.true(N_("each worker's log names the line that kept the lock"), logged)
    failed = {event.task for event in bed.events(h.FAILED)}
    judge.count(N_("{n} other tasks failed"), len(failed - {locked.task_id}), 0)


@case(
    "exception",
    fault=N_("a task that raises"),
    promise=N_("one failure with the worker's traceback; it is not tried again"),
)
def exception(bed: TestBed) -> None:
    """Submit ``fail`` among good tasks."""
    failing, judge = among_good_ones(bed, fail, "on purpose", expected=TaskFailed), bed.judge
    attempts = len(bed.events(h.DISPATCHED, task=failing.task_id))
    judge.count_unless_slow(N_("{n} attempt"), attempts, 1, bed.silencing_s)
    error = failing.exception()
    judge.true(
        N_("the error names the exception, its place and its worker"),
        "on purpose" in str(error)
        and (failing.worker or "?") in str(error)
        and "jobs.py" in getattr(error, "remote_traceback", ""),
    )
    bed.expect_no_loss()


@case(
    "no-worker",
    fault=N_("a task for a filter that no worker serves"),
    promise=N_("it waits until its deadline, then fails as NO_WORKER; others pass it"),
    workers=2,
    capabilities={"worker-1": ["blur"], "worker-2": ["blur"]},
)
def no_worker(bed: TestBed) -> None:
    """Submit a task for edges to workers that only blur, with a deadline of one second."""
    import numpy as np

    from labkit.imaging.filters import apply_steps, parse_steps

    client, work, judge = bed.client(), bed.work, bed.judge
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    edges, blur = parse_steps(["edges"]), parse_steps(["blur"])
    impossible = work.submit(client, process_image, image, edges, expected=NoWorker, deadline_s=DEADLINE_S)
    for _ in range(20):
        work.submit(client, process_image, image, blur, expected=apply_steps(image, blur))
    bed.finish_work()
    submitted = bed.events(h.SUBMITTED, task=impossible.task_id)[0]
    failed = bed.events(h.FAILED, task=impossible.task_id)[0]
    judge.within(N_("failed after {seconds}"), failed.at - submitted.at, DEADLINE_S + 0.5, submitted.at)
    judge.true(N_("as NO_WORKER"), failed.detail["code"] == "NO_WORKER")
    judge.true(N_("not before its deadline"), failed.at - submitted.at >= DEADLINE_S - 0.1)
    judge.detected(failed.at - submitted.at)
