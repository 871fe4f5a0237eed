"""The cost of the scheduler's decisions: microseconds per task, for any number of workers and queued tasks.

There is no network and no computing, only a real Scheduler that gets messages as from a broker: a turn reads
a batch of answers and as many submissions, then ticks. So the queue keeps its length while tasks flow
through.

The cost should be flat from 3 to 1,000 workers and from a hundred to a million queued tasks.
A million queued tasks need about a gigabyte.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from labkit.core.broker.inputs import Action, FromClient, FromWorker, Tick
from labkit.core.broker.policies import Policy
from labkit.core.broker.scheduler import Scheduler
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

CLIENT: Final = "client"
BATCH: Final = 64
"""Answers in one turn of the broker, under load."""


class Cost(NamedTuple):
    """A measurement; ``us_per_task`` covers one task from submission to result."""

    workers: int
    queued: int
    tasks: int
    us_per_task: float


def microseconds_per_task(
    workers: int, queued: int, tasks: int = 20_000, slots: int = 1, policy: str | Policy = "least_busy"
) -> Cost:
    """Return the scheduler's cost of one task with ``workers`` connected and ``queued`` tasks waiting.

    ``tasks`` are measured, after a tenth as many that are not.
    """
    bench = _Bench(workers, queued, slots, policy)
    bench.run(max(BATCH, tasks // 10))
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # walking over a million tasks is not the scheduler's work
    try:
        began = time.perf_counter()
        done = bench.run(tasks)
        seconds = time.perf_counter() - began
    finally:
        if enabled:
            gc.enable()
    return Cost(workers, queued, done, seconds / done * 1e6)


class _Bench:
    """A scheduler, and workers that answer in the order in which they got their tasks."""

    def __init__(self, workers: int, queued: int, slots: int, policy: str | Policy) -> None:
        room = queued + workers * 128 + BATCH
        rules = replace(Rules(), max_queued_tasks=room, max_client_tasks=room, max_workers=workers)
        self._now = 0.0
        self._random = Random(1)
        self._scheduler = Scheduler(rules, b"costcost", self._now, policy)
        self._assigned: deque[tuple[object, bytes, int]] = deque()  # (route, task, attempt)
        self._scheduler.handle(FromClient(CLIENT, m.ClientHello(bytes(16), "bench")), self._now)
        for number in range(workers):
            epoch = number.to_bytes(8, "big")
            hello = m.WorkerHello(epoch, epoch, slots, 1, f"worker-{number}", "")
            self._scheduler.handle(FromWorker(number, hello), self._now)
        self._submit(queued)
        self._turn()
        self._submit(queued - len(self._scheduler.queue))

    def run(self, tasks: int) -> int:
        """Let at least ``tasks`` tasks pass through; return how many did."""
        done = 0
        while done < tasks:
            answers = [self._assigned.popleft() for _ in range(min(BATCH, len(self._assigned)))]
            for route, task, attempt in answers:
                self._scheduler.handle(FromWorker(route, m.Done(task, attempt, 0.001, m.EMPTY)), self._now)
            self._submit(len(answers))
            self._turn()
            done += len(answers)
        return done

    def _submit(self, count: int) -> None:
        for _ in range(count):
            submit = m.Submit(self._random.randbytes(16), 3600.0, 30.0, "labkit.jobs:echo", "", m.EMPTY)
            self._scheduler.handle(FromClient(CLIENT, submit), self._now)

    def _turn(self) -> None:
        self._now += 0.0005
        self._take(self._scheduler.handle(Tick(), self._now))
        self._scheduler.take_events()

    def _take(self, actions: list[Action]) -> None:
        for route, message in actions:
            if type(message) is m.Task:
                self._assigned.append((route, message.task, message.attempt))
