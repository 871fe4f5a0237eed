"""How everything here is measured: the same steps for every engine, in turn, in one run.

* Each batch runs once to warm up, then the engines take turns, A B A B …: a machine that slows down meanwhile
  slows both.
* Whole batches are timed, not single calls; garbage is collected before the clock starts.
* All engines have the same number of workers, and each worker computes with one thread.
* Everything that is started ends with its ``with``, also on Ctrl-C.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from benchmarks.figures import BenchFailed
from labkit import jobs
from labkit.core.errors import N_
from labkit.support.signals import sigint_blocked

if TYPE_CHECKING:
    from labkit.cluster import Cluster

T = TypeVar("T")
Choice = TypeVar("Choice")

LABKIT = "labkit"
POOL = "ProcessPoolExecutor"
VERSUS_POOL = f"{LABKIT} / {POOL}"

MOST_WORKERS = 3
POLL_S = 0.005


@dataclass(frozen=True)
class Setup:
    """The parameters of every measurement."""

    rounds: int
    workers: int
    """Of each engine that is compared."""
    quick: bool = False

    def size(self, full: Choice, quick: Choice) -> Choice:
        """Return the size for this run."""
        return quick if self.quick else full


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usual_workers() -> int:
    """Return the number of workers of each engine: one per core, three at most."""
    return min(cores(), MOST_WORKERS)


# --- the engines --------------------------------------------------------------------------------------------


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Yield Python's own process pool, with all its processes running and one thread in each."""
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_process
    )
    try:
        wake_all(pool, workers)
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def cluster_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor on a private cluster, with the settings of the environment."""
    from labkit.cluster import open_cluster

    with open_cluster(workers) as cluster, executor_on(cluster) as executor:
        wake_all(executor, workers)
        yield executor


@contextmanager
def executor_on(cluster: Cluster) -> Iterator[Executor]:
    """Yield an executor on a running cluster; tasks that are open at the end are cancelled."""
    from labkit.executors import open_executor

    executor = open_executor("cluster", cluster=cluster)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread_each()


def one_thread_each() -> None:
    """Set what native libraries read when they are loaded; labkit's own workers get the same values."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = "1"


def wake_all(executor: Executor, workers: int) -> None:
    """Submit enough tasks to start all processes: a pool starts one when a task finds all others busy."""
    with sigint_blocked():
        futures = [executor.submit(jobs.sleep_for, 0.05) for _ in range(2 * workers)]
    for future in futures:
        future.result()


# --- the clock ----------------------------------------------------------------------------------------------


def timed(batch: Callable[[], object]) -> float:
    """Return the seconds that ``batch`` takes."""
    gc.collect()
    began = time.perf_counter()
    batch()
    return time.perf_counter() - began


def alternate(rounds: int, *measured: Callable[[], T], warm: bool = False) -> list[list[T]]:
    """Return what each of ``measured`` returned, round by round: one list each.

    They take turns. The first turn does not count, unless they are ``warm`` already.
    """
    if not warm:
        for measure in measured:
            measure()
    returned: list[list[T]] = [[] for _ in measured]
    for _ in range(rounds):
        for measure, values in zip(measured, returned, strict=True):
            values.append(measure())
    return returned


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    """Return when ``condition`` is true. Raises BenchFailed, which names ``what``, after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchFailed(
                N_("waited {seconds:g} s in vain: {what}; is the machine very busy? try again"),
                seconds=timeout_s,
                what=what,
            )
        time.sleep(POLL_S)
