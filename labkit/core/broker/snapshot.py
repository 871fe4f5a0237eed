"""What the broker shows of itself at one moment: its workers, its queue, and how much work is open.

The Redis mirror and the status command display it. A snapshot is a copy: changing it changes nothing in the
scheduler, and nothing ever reads it back as the truth.

The core has no wall clock, so a snapshot contains how *long ago* a worker was last heard. The display turns
that age into a time of day.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple, TypedDict

from labkit.core.broker.records import Worker
from labkit.core.broker.tables import Tables
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.broker.worker_table import WorkerTable

LEFT_SHOWN_S = 60.0
"""A worker that left politely is shown for this long: an autoscaler takes away many of them."""
LOST_SHOWN_S = 600.0
"""A lost one is shown longer, because it may come back; one that was also scaled away never does."""
MAX_LOOKED_AT = 1000
"""Queued tasks that are looked at to estimate how much work is open."""


class WorkerRow(TypedDict):
    """One worker in a snapshot, ready for JSON."""

    id: str
    """Its name; no two workers of a snapshot share one."""
    capabilities: list[str]
    """Sorted: the filters that it serves; empty means all."""
    last_heartbeat_age_s: float
    """Seconds since its last message, 0 or more."""
    status: str
    """ready, busy, suspect, draining, lost or left."""
    tasks_completed: int
    """Tasks that this epoch of the worker has finished."""
    in_flight: int
    """Tasks dispatched to it and not yet answered."""
    slots: int
    """Tasks that it computes at the same time."""
    epoch: str
    """Hex digits, fresh for every hello of the worker."""
    pid: int
    """The id of its process, as its hello stated."""


Label = tuple[str, str, float]
"""A waiting task for people: its id (32 hex digits), its job, and when it was submitted (broker's clock)."""


class Snapshot(NamedTuple):
    """One moment of the broker; all parts are complete, so a later snapshot replaces an earlier one.

    ``pending``: the ids (32 hex digits) of the tasks that wait for a worker, oldest first. ``labels``: the
    same tasks for people; or nothing.
    """

    workers: tuple[WorkerRow, ...] = ()
    pending: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()


def snapshot_of(tables: Tables, now: float) -> Snapshot:
    """Return the present state of the broker, for the mirror."""
    labels = tuple([task.label for task in tables.queue])
    return Snapshot(tuple(worker_rows(tables.workers, now)), tuple([label[0] for label in labels]), labels)


def status_of(tables: Tables, now: float) -> dict[str, Any]:
    """Return the present state of the broker, ready for JSON; all ages in seconds."""
    tasks, queue = tables.tasks, tables.queue
    return {
        "workers": worker_rows(tables.workers, now),
        "queued": len(queue),
        "assigned": len(tasks) - len(queue),
        "open_bytes": tables.clients.open_bytes,
        "open_work_s": open_work_s(tables.workers, queue, now),
        "clients": len(tables.clients),
    }


def worker_rows(workers: WorkerTable, now: float) -> list[WorkerRow]:
    """Return one row per worker; the departed come last, and only for a while."""
    living = [_row(worker, worker.status, now) for worker in workers]
    return living + [
        _row(worker, status, now)
        for worker, status in workers.departed.values()
        if now - worker.left_at < (LEFT_SHOWN_S if status == "left" else LOST_SHOWN_S)
    ]


def _row(worker: Worker, status: str, now: float) -> WorkerRow:
    return {
        "id": worker.id,
        "capabilities": sorted(worker.capabilities),
        "last_heartbeat_age_s": now - worker.last_heard,
        "status": status,
        "tasks_completed": worker.completed,
        "in_flight": worker.in_flight,
        "slots": worker.slots,
        "epoch": worker.epoch.hex(),
        "pid": worker.pid,
    }


def open_work_s(workers: WorkerTable, queue: TaskQueue, now: float) -> float:
    """Return how many seconds one slot would need for all open tasks, estimated from past runs.

    A job without a finished run is expected to take as long as its longest present run has taken. Of a very
    long queue only the first part is looked at, and stands for the whole.
    """
    assigned = list(workers.all_tasks())
    longest_s: dict[str, float] = {}
    for task in assigned:
        if task.started_at is not None:
            longest_s[task.job] = max(longest_s.get(task.job, 0.0), now - task.started_at)
    looked_at = [*assigned, *islice(queue, MAX_LOOKED_AT)]
    work_s = 0.0
    for task in looked_at:
        expected_s = workers.expected_s(task.job)
        work_s += longest_s.get(task.job, 0.0) if expected_s is None else expected_s
    return work_s * (len(assigned) + len(queue)) / len(looked_at) if looked_at else 0.0
