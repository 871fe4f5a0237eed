"""What scheduling costs per task, with 3 and with 1,000 workers, with a hundred and with a million queued.

No socket and no process: a `labkit.core.broker.scheduler.Scheduler` and simulated workers that answer at
once. A *turn* does what a turn of the broker does: some results, as many new tasks, one ``Tick`` that hands
out work, and the heartbeats of all workers. Only this thread's processor time counts, and the scheduler's
clock runs with it.

*Flat* means a factor of 1.5 at most. The same steps per task touch more memory when more tasks are queued,
and cache misses cost a few tenths. An algorithm whose cost grows would be far beyond that: a search tree by a
factor of 2.3 (workers) and 3 (tasks), a search through all of them by 333 and 10,000.
"""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import psutil

from benchmarks.figures import TIMES, Figure, Section, Target, ratios
from benchmarks.setup import Setup, alternate
from labkit.core.broker.inputs import FromClient, FromWorker, Tick, ToWorker
from labkit.core.broker.records import Route
from labkit.core.broker.scheduler import Scheduler
from labkit.core.errors import N_
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.support.i18n import _

TITLE = N_("the scheduler's cost per task, and how it grows")
TARGET = Target(1.5, at_most=True)

FEW_WORKERS, MANY_WORKERS = 3, 1_000
FEW_TASKS, MANY_TASKS, QUICK_MANY_TASKS = 100, 1_000_000, 100_000
BYTES_PER_TASK = 1_500
"""Twice what a task takes, about. With too little free memory, fewer tasks are queued."""

TASKS_PER_TURN = 50
TASKS_PER_ROUND = 5_000
FILL_STEP = 1_000
COMPUTE_S = 0.0002
"""So short that a worker holds more than twenty tasks ahead, and three workers enough for a whole turn."""
CLIENT = b"client"
PAYLOAD = m.Payload(b"a tiny task's argument")
GC_THRESHOLD = (50_000, 20, 20)
"""As in the broker; `labkit.broker.service` gives the reasons."""


class Bench:
    """A scheduler with ``workers`` busy workers and ``queued`` tasks that wait for them."""

    def __init__(self, workers: int, queued: int) -> None:
        unbounded = 1 << 60
        self._rules = replace(
            Rules(), max_queued_tasks=unbounded, max_client_tasks=unbounded,
            max_queued_bytes=unbounded, max_client_bytes=unbounded,
        )  # fmt: skip
        self._now = 0.0
        self._queued = queued
        self._held: deque[tuple[Route, m.Task]] = deque()
        """Tasks that the workers hold, oldest first."""
        self._routes = [b"worker %d" % number for number in range(workers)]
        self._next_beat = 0.0
        self.scheduler = Scheduler(self._rules, os.urandom(8), self._now)
        self.scheduler.handle(FromClient(CLIENT, m.ClientHello(os.urandom(16), "bench")), self._now)
        for number, route in enumerate(self._routes):
            hello = m.WorkerHello(os.urandom(8), os.urandom(8), 1, number, f"worker-{number}", "")
            self.scheduler.handle(FromWorker(route, hello), self._now)
        self._fill()
        while self._grows():  # it learns how short the tasks are, and lets the workers hold more of them
            self._fill()

    def _fill(self) -> None:
        while (missing := self._queued - len(self.scheduler.queue)) > 0:
            self._turn(0, min(missing, FILL_STEP))

    def _grows(self) -> bool:
        """Complete as many tasks as the workers hold; return whether they hold more afterwards."""
        before = len(self._held)
        self.run(before)
        return len(self._held) > before

    def run(self, tasks: int) -> float:
        """Complete ``tasks`` tasks and submit as many new ones; return the microseconds per task."""
        done = 0
        began, began_now = time.thread_time(), self._now
        while done < tasks:
            count = min(TASKS_PER_TURN, tasks - done, len(self._held))
            self._turn(count, count)
            done += count
            self._now = began_now + time.thread_time() - began
        return (time.thread_time() - began) / tasks * 1e6

    def _turn(self, done: int, submitted: int) -> None:
        handle, now = self.scheduler.handle, self._now
        if now >= self._next_beat:
            self._next_beat = now + self._rules.heartbeat_s
            for route in self._routes:
                handle(FromWorker(route, m.Heartbeat()), now)
        for _task in range(done):
            holder, task = self._held.popleft()
            handle(FromWorker(holder, m.Done(task.task, task.attempt, COMPUTE_S, m.EMPTY)), now)
        for _task in range(submitted):
            handle(FromClient(CLIENT, m.Submit(os.urandom(16), 0.0, 0.0, "bench", "", PAYLOAD)), now)
        for action in handle(Tick(), now):
            if type(action) is ToWorker and type(action.message) is m.Task:
                self._held.append((action.route, action.message))
        self.scheduler.take_events()


def most_tasks(wanted: int) -> int:
    """Return ``wanted``, or as many tasks as fit twice into the free memory."""
    free: int = psutil.virtual_memory().available
    return max(FEW_TASKS, min(wanted, free // (2 * BYTES_PER_TASK)))


def measure(setup: Setup) -> Section:
    """Return the microseconds per task, and how they grow with workers and with tasks."""
    many = most_tasks(setup.size(MANY_TASKS, QUICK_MANY_TASKS))
    with _collecting_as_the_broker_does():
        benches = [
            Bench(FEW_WORKERS, FEW_TASKS),
            Bench(MANY_WORKERS, FEW_TASKS),
            Bench(FEW_WORKERS, many),
        ]
        few, workers, tasks = alternate(
            setup.rounds, *(partial(bench.run, TASKS_PER_ROUND) for bench in benches)
        )
        del benches
    label = _("{workers} workers, {tasks} queued")
    more_workers = _("from {few} to {many} workers").format(few=FEW_WORKERS, many=MANY_WORKERS)
    more_tasks = _("from {few} to {many} queued tasks").format(few=FEW_TASKS, many=many)
    figures = [
        Figure("few", label.format(workers=FEW_WORKERS, tasks=FEW_TASKS), few, "us"),
        Figure("many_workers", label.format(workers=MANY_WORKERS, tasks=FEW_TASKS), workers, "us"),
        Figure("many_tasks", label.format(workers=FEW_WORKERS, tasks=many), tasks, "us"),
        Figure("workers_ratio", more_workers, ratios(workers, few), TIMES, TARGET),
        Figure("tasks_ratio", more_tasks, ratios(tasks, few), TIMES, TARGET),
    ]
    note = _("processor time of the scheduler alone; flat means at most {factor} times as much")
    return Section(figures, [note.format(factor=TARGET.limit)], {"most_tasks": many})


@contextmanager
def _collecting_as_the_broker_does() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
