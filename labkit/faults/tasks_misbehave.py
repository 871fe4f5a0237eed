"""Cases: tasks that kill their worker, hang, raise, or that nobody can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.core import history as h
from labkit.core.errors import N_, NoWorker, TaskFailed, TaskHung, TaskPoisoned
from labkit.faults.case import case
from labkit.faults.stand import Stand
from labkit.futures import TaskFuture
from labkit.jobs import crash, fail, hang, process_image

EXIT_HUNG = "exit 86"
LEASE_S = 0.5
DEADLINE_S = 1.0


def among_good_ones(stand: Stand, job: Callable[..., Any], *arguments: Any, **options: Any) -> TaskFuture:
    """Submit a bad task with good ones before and behind it; return its future when all have an outcome."""
    client, work = stand.client(), stand.work
    work.sleepers(client, 30, 0.02)
    bad = work.submit(client, job, *arguments, **options)
    work.sleepers(client, 60, 0.02)
    stand.finish_work()
    return bad


@case(
    "poison-task",
    fault=N_("a task that kills its worker, among good ones"),
    promise=N_("POISONED after 3 crashes; no other task is blamed or lost"),
)
def poison_task(stand: Stand) -> None:
    """Put the job ``crash`` among tasks that do nothing wrong."""
    poison, judge = among_good_ones(stand, crash, expected=TaskPoisoned), stand.judge
    crashes = [event.detail["crashes"] for event in stand.events(h.POISONED, task=poison.task_id)]
    judge.count(N_("{n} crashes counted against it"), sum(crashes), stand.settings.rules.max_crashes)
    failed = {event.task for event in stand.events(h.FAILED)}
    judge.count(N_("{n} other tasks failed"), len(failed - {poison.task_id}), 0)
    error = str(poison.exception())
    judge.true(N_("the error names the task and the worker"), poison.task_id in error and "worker-" in error)
    for recovery in stand.history.recoveries():
        judge.recovered(recovery.restored_s)


@case(
    "hung-task",
    fault=N_("a task that never returns"),
    promise=N_("its worker leaves with exit code 86 after the lease and is replaced; then it fails"),
)
def hung_task(stand: Stand) -> None:
    """Submit ``hang`` with a lease of half a second, among tasks that do return."""
    hung, judge = among_good_ones(stand, hang, expected=TaskHung, lease_s=LEASE_S), stand.judge
    attempts = stand.events(h.STARTED, task=hung.task_id)
    judge.count(N_("{n} attempts"), len(attempts), stand.settings.rules.max_hangs)
    ends = [*stand.events(h.REQUEUED, task=hung.task_id), *stand.events(h.FAILED, task=hung.task_id)]
    took = [end.at - start.at for start, end in zip(attempts, ends, strict=False)]
    judge.within(N_("reported after {seconds}"), max(took), LEASE_S + 0.5, attempts[0].at)
    judge.detected(max(took))
    holders = {event.worker for event in attempts}

    def replaced() -> bool:
        rows = {row["name"]: row for row in stand.cluster.status()["processes"]}
        return all(rows[name]["last_exit"] == EXIT_HUNG and rows[name]["restarts"] for name in holders)

    stand.wait_until(replaced, N_("its workers were not replaced within {seconds:g} s"))
    stand.wait_until_ready()
    judge.true(N_("each worker that had it was replaced"), replaced())


@case(
    "exception",
    fault=N_("a task that raises"),
    promise=N_("one failure with the worker's traceback; it is not tried again"),
)
def exception(stand: Stand) -> None:
    """Submit ``fail`` among good tasks."""
    failing, judge = among_good_ones(stand, fail, "on purpose", expected=TaskFailed), stand.judge
    judge.count(N_("{n} attempt"), len(stand.events(h.DISPATCHED, task=failing.task_id)), 1)
    error = failing.exception()
    judge.true(
        N_("the error says what was raised, where, and on which worker"),
        "on purpose" in str(error) and (failing.worker or "?") in str(error)
        and "jobs.py" in getattr(error, "remote_traceback", ""),
    )  # fmt: skip
    stand.blame_nobody()


@case(
    "no-worker",
    fault=N_("a task for a filter that no worker serves"),
    promise=N_("it waits until its deadline, then fails as NO_WORKER; others pass it"),
    workers=2,
    capabilities={"worker-1": ["blur"], "worker-2": ["blur"]},
)
def no_worker(stand: Stand) -> None:
    """Ask workers that only blur for edges, with a deadline of one second."""
    import numpy as np

    from labkit.filters import apply_steps, parse_steps

    client, work, judge = stand.client(), stand.work, stand.judge
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    edges, blur = parse_steps(["edges"]), parse_steps(["blur"])
    impossible = work.submit(client, process_image, image, edges, expected=NoWorker, deadline_s=DEADLINE_S)
    for _ in range(20):
        work.submit(client, process_image, image, blur, expected=apply_steps(image, blur))
    stand.finish_work()
    submitted = stand.events(h.SUBMITTED, task=impossible.task_id)[0]
    failed = stand.events(h.FAILED, task=impossible.task_id)[0]
    judge.within(N_("failed after {seconds}"), failed.at - submitted.at, DEADLINE_S + 0.5, submitted.at)
    judge.true(N_("as NO_WORKER"), failed.detail["code"] == "NO_WORKER")
    judge.true(N_("not before its deadline"), failed.at - submitted.at >= DEADLINE_S - 0.1)
    judge.detected(failed.at - submitted.at)
