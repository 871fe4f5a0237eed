"""A chosen workload on chosen workers instead of drawn ones: for comparing policies and for replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from labkit.simulation.work import Work

AMPLE_S: Final = 3600.0
"""A budget that no task of a scenario exceeds."""


@dataclass(frozen=True)
class Place:
    """One worker of a scenario."""

    slots: int = 1
    """How many tasks it computes at the same time."""
    slowness: float = 1.0
    """It needs this many times as long as the fastest."""
    name: str = ""
    """Empty: ``worker-`` and its number."""
    capabilities: frozenset[str] = frozenset()
    """Empty: all."""
    starts_at: float | None = None
    """When it is started; None: at the beginning."""


@dataclass(frozen=True)
class Strike:
    """Something that is done to a worker or to the ``broker`` at an instant of the run."""

    at: float
    what: str
    """kill, pause, resume, stop, start, or heal (all that is frozen); another word is only written into the
    history."""
    target: str


@dataclass(frozen=True)
class Scenario:
    """What is to be computed, and the workers that compute it: ``worker-1``, ``worker-2`` …"""

    works: Sequence[Work]
    places: Sequence[Place]
    strikes: Sequence[Strike] = ()
    clients: Mapping[bytes, str] = field(default_factory=dict)
    """Whose each task is; empty: the seed distributes them."""
    ends_with_its_tasks: bool = False
    """Whether the run may end before its safety phase does, once all tasks have an outcome."""


def uneven(seed: int, tasks: int, places: Sequence[Place], every_s: float) -> Scenario:
    """Return a workload in which one task in five takes fourteen times as long as the others.

    A task arrives every ``every_s`` seconds on average; 0: all are there at the beginning.
    """
    random = Random(f"{seed} uneven")
    works = []
    at = 0.0
    for number in range(tasks):
        compute_s = 0.7 if random.random() < 0.2 else 0.05
        task = random.randbytes(12) + number.to_bytes(4, "big")
        works.append(work(task, compute_s * random.uniform(0.9, 1.1), at))
        at += every_s * random.uniform(0.8, 1.2)
    return Scenario(works, places)


def work(task: bytes, compute_s: float, submit_at: float) -> Work:
    """Return a task that does nothing but take its time."""
    return Work(task, "fine", "photo", "", compute_s, False, submit_at, AMPLE_S, None)
