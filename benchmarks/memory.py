"""Memory of an idle cluster: all of its processes, supervisor and Redis included.

PSS (proportional set size) counts a page that n processes share as 1/n in each, so the sum over processes is
what the cluster takes from the machine. Only Linux reports it. Elsewhere USS is shown, the memory that
belongs to each process alone, without a verdict. Pages shared with processes outside the cluster, such as
this one, count only in part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from benchmarks.figures import Figure, Section, Target
from benchmarks.pictures import FILTERS, resized_photos
from benchmarks.setup import Setup, executor_on, wait_until
from labkit.batch import process_batch
from labkit.core.errors import N_
from labkit.jobs import echo
from labkit.support.i18n import _

if TYPE_CHECKING:
    from labkit.cluster import Cluster

TITLE = N_("memory of a cluster with three workers")
TARGET = Target(100.0, at_most=True)
WORKERS = 3
QUEUED = 10_000
MIB = 1 << 20
KIND = "PSS" if hasattr(psutil, "LINUX") and psutil.LINUX else "USS"
MOST_CLUSTERS = 3

SETTLE_S = 5.0
LOOK_EVERY_S = 0.25
"""The memory of a process still changes just after it has started or finished something; see `settled`."""


def memory_of(pid: int) -> float:
    """Return a process's PSS (USS where there is no PSS) in MiB."""
    info = psutil.Process(pid).memory_full_info()
    return float(info.pss if KIND == "PSS" else info.uss) / MIB


def processes_of(cluster: Cluster) -> dict[int, str]:
    """Return the name of every process of a cluster: the supervisor, and all below it."""
    status = cluster.status()
    names = {row["pid"]: row["name"] for row in status["processes"]}
    below = psutil.Process(status["pid"]).children(recursive=True)
    return {status["pid"]: "supervisor"} | {child.pid: names.get(child.pid, "other") for child in below}


def settled(read: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return what ``read`` returns once its sum changes by less than a percent, or after ``SETTLE_S``."""
    deadline = time.monotonic() + SETTLE_S
    before = read()
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        now = read()
        if abs(sum(now.values()) - sum(before.values())) < 0.01 * sum(before.values()):
            return now
        before = now
    return before


def measure(setup: Setup) -> Section:
    """Return the memory of an idle cluster, also after its first pictures, and of a broker with a queue."""
    idle: list[dict[str, float]] = []
    used: list[dict[str, float]] = []
    brokers: list[tuple[float, float]] = []
    for _round in range(min(setup.rounds, MOST_CLUSTERS)):
        with _open(WORKERS) as (cluster, executor):
            idle.append(settled(lambda cluster=cluster: _by_name(cluster)))  # type: ignore[misc]
            _show_pictures(cluster, executor)
            used.append(settled(lambda cluster=cluster: _by_name(cluster)))  # type: ignore[misc]
        brokers.append(_broker_with_a_queue())
    return Section(_figures(idle, used, brokers), _notes(), {"kind": KIND, "processes": sorted(idle[0])})


def _figures(
    idle: list[dict[str, float]], used: list[dict[str, float]], brokers: list[tuple[float, float]]
) -> list[Figure]:
    figures = [
        Figure("idle", _("idle, all processes"), _sums(idle), "MiB", TARGET if KIND == "PSS" else None),
    ]
    for name in ("supervisor", "broker", "redis", "worker-1"):
        if name in idle[0]:
            values = [each[name] for each in idle]
            figures.append(Figure(f"idle.{name}", _("idle: {name}").format(name=name), values, "MiB"))
    label = _("broker with {tasks} queued tasks").format(tasks=QUEUED)
    bytes_each = [(full - empty) * MIB / QUEUED for empty, full in brokers]
    return [
        *figures,
        Figure("used", _("after the first pictures (OpenCV is loaded)"), _sums(used), "MiB"),
        Figure("queue", label, [full for _empty, full in brokers], "MiB"),
        Figure("queue.task", _("of it, for one queued task"), bytes_each, "bytes"),
    ]


def _notes() -> list[str]:
    note = _("{kind} of supervisor, broker, Redis and workers; not of the program that uses the cluster")
    return [note.format(kind=KIND)]


def _sums(readings: list[dict[str, float]]) -> list[float]:
    return [sum(each.values()) for each in readings]


def queued(cluster: Cluster) -> int:
    """Return how many tasks wait in the broker; -1 if it does not answer."""
    status = cluster.status()["broker"]
    return -1 if status is None else int(status["queued"])


@contextmanager
def _open(workers: int) -> Iterator[tuple[Cluster, Executor]]:
    from labkit.cluster import open_cluster

    with open_cluster(workers) as cluster, executor_on(cluster) as executor:
        yield cluster, executor


def _by_name(cluster: Cluster) -> dict[str, float]:
    return {name: memory_of(pid) for pid, name in processes_of(cluster).items()}


def _show_pictures(cluster: Cluster, executor: Executor) -> None:
    """Let every worker process pictures."""
    pictures = resized_photos(512, 512, 2) * (2 * WORKERS)

    def all_have_worked() -> bool:
        process_batch(executor, pictures, FILTERS)
        return all(worker.tasks_completed for worker in cluster.workers())

    wait_until(all_have_worked, "every worker has processed pictures")


def _broker_with_a_queue() -> tuple[float, float]:
    """Return the MiB of a broker without workers: with no task, and with ``QUEUED`` queued tasks."""
    with _open(0) as (cluster, executor):
        pid = next(pid for pid, name in processes_of(cluster).items() if name == "broker")
        empty = settled(lambda: {"broker": memory_of(pid)})["broker"]
        for number in range(QUEUED):
            executor.submit(echo, number)
        wait_until(lambda: queued(cluster) == QUEUED, "the broker has the whole queue")
        return empty, settled(lambda: {"broker": memory_of(pid)})["broker"]
