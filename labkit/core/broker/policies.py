"""Placement policies: which of the eligible workers gets the next task.

A policy is a plain function ``choose(task, workers, now) -> worker | None``. ``workers`` holds only workers
that are living, not draining, capable of the task and with credit left, in no particular order and never
empty; the list is the policy's own, which it may change. ``None`` leaves the task in the queue until
something changes. The same function runs in the simulator and in the real broker.

No policy uses a random generator: a task's id is 128 random bits made by its client, and these bits are the
randomness, so a run can be repeated exactly. The scheduler runs ``least_busy`` through an index
(``worker_table``) that gives the same answer in constant time; a test compares the two.

Source: ipyparallel's schemes (``leastload``, ``lru``, ``plainrandom``, ``twobin``); Mitzenmacher, "The power
of two choices in randomized load balancing" (2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from labkit.core.errors import N_, InvalidInput


class WorkerView(Protocol):
    """What a policy may know about a worker."""

    @property
    def id(self) -> str: ...
    @property
    def in_flight(self) -> int:
        """Tasks that it holds now."""

    @property
    def slots(self) -> int:
        """Tasks that it can compute at the same time."""

    @property
    def last_used(self) -> int:
        """Grows with every dispatch to it and every answer from it, across all workers: a logical clock."""

    @property
    def last_dispatch(self) -> int:
        """The same logical clock at its latest dispatch."""

    @property
    def completed(self) -> int: ...


class TaskView(Protocol):
    """What a policy may know about a task."""

    @property
    def id(self) -> bytes: ...
    @property
    def job(self) -> str: ...
    @property
    def attempt(self) -> int: ...


Policy = Callable[[TaskView, Sequence[WorkerView], float], "WorkerView | None"]


def least_busy(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Return the worker with the fewest tasks in flight; among equals the least recently used."""
    return min(workers, key=lambda worker: (worker.in_flight, worker.last_used))


def round_robin(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Return the worker that was dispatched to longest ago, however busy it is."""
    return min(workers, key=lambda worker: worker.last_dispatch)


def random_choice(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Return any worker, each with the same probability."""
    return workers[_bits(task, 0) % len(workers)]


def power_of_two_choices(task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
    """Return the less busy of two workers picked at random."""
    one = workers[_bits(task, 0) % len(workers)]
    two = workers[_bits(task, 1) % len(workers)]
    return one if one.in_flight <= two.in_flight else two


def _bits(task: TaskView, half: int) -> int:
    """Return 64 of the task id's random bits, mixed with the attempt, so that a retry draws again.

    Merely adding a constant for each attempt is not enough: if the number of workers divides it, every retry
    goes to the same worker. Source of the mixing: Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators" (2014).
    """
    bits = int.from_bytes(task.id[half * 8 : half * 8 + 8], "big") + task.attempt * 0x9E3779B97F4A7C15
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return bits ^ bits >> 27


POLICIES: dict[str, Policy] = {
    "least_busy": least_busy,
    "round_robin": round_robin,
    "random_choice": random_choice,
    "power_of_two_choices": power_of_two_choices,
}

UNKNOWN = N_("policy {policy!r} is unknown; known: {known}; or your own, as module:function")


def named(name: str) -> Policy:
    """Return the policy of this name. Raises InvalidInput, which lists the known ones."""
    try:
        return POLICIES[name]
    except KeyError:
        raise InvalidInput(UNKNOWN, policy=name, known=", ".join(POLICIES)) from None
