"""Placement policies are plain functions: the same task and workers give the same choice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.broker.policies import (
    POLICIES,
    Policy,
    least_busy,
    named,
    power_of_two_choices,
    random_choice,
    round_robin,
)
from labkit.core.errors import InvalidInput


@dataclass(frozen=True)
class AWorker:
    id: str
    in_flight: int = 0
    last_used: int = 0
    last_dispatch: int = 0
    slots: int = 1
    completed: int = 0


@dataclass(frozen=True)
class ATask:
    id: bytes = bytes(16)
    job: str = "work"
    attempt: int = 1


def chosen(policy: Policy, *workers: AWorker, task: ATask | None = None) -> str:
    worker = policy(task or ATask(), workers, 0.0)
    assert worker is not None
    return worker.id


def many_tasks(count: int = 2000) -> list[ATask]:
    dice = Random(1)
    return [ATask(dice.randbytes(16)) for _ in range(count)]


fleets = st.lists(
    st.builds(AWorker, st.uuids().map(str), st.integers(0, 5), st.integers(0, 9), st.integers(0, 9)),
    min_size=1,
    max_size=8,
)


@given(st.sampled_from(sorted(POLICIES)), fleets, st.binary(min_size=16, max_size=16), st.integers(0, 9))
def test_every_policy_always_chooses_the_same_offered_worker(
    name: str, workers: list[AWorker], task_id: bytes, attempt: int
) -> None:
    task = ATask(task_id, attempt=attempt)
    worker = named(name)(task, workers, 0.0)
    assert worker in workers
    assert named(name)(task, workers, 99.0) is worker


@given(fleets)
def test_least_busy_never_passes_a_less_busy_worker(workers: list[AWorker]) -> None:
    worker = least_busy(ATask(), workers, 0.0)
    assert worker is not None
    assert worker.in_flight == min(other.in_flight for other in workers)


def test_least_busy_takes_the_least_recently_used_among_equals() -> None:
    workers = AWorker("a", 2, last_used=1), AWorker("b", 1, last_used=9), AWorker("c", 1, last_used=4)
    assert chosen(least_busy, *workers) == "c"


def test_round_robin_takes_turns_however_busy() -> None:
    workers = AWorker("a", 0, last_dispatch=5), AWorker("b", 9, last_dispatch=2), AWorker("c", 1, 0, 3)
    assert chosen(round_robin, *workers) == "b"


def test_random_choice_is_fair() -> None:
    workers = [AWorker(name) for name in "abcd"]
    counts = Counter(chosen(random_choice, *workers, task=task) for task in many_tasks())
    assert all(400 < counts[name] < 600 for name in "abcd"), counts


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
def test_retry_mostly_lands_elsewhere(workers: int) -> None:
    fleet = [AWorker(str(number)) for number in range(workers)]
    moved = sum(
        chosen(random_choice, *fleet, task=task)
        != chosen(random_choice, *fleet, task=ATask(task.id, attempt=2))
        for task in many_tasks(1000)
    )
    assert moved > 300


def test_of_two_choices_the_less_busy_wins() -> None:
    workers = AWorker("idle", 0), AWorker("busy", 9)
    counts = Counter(chosen(power_of_two_choices, *workers, task=task) for task in many_tasks())
    assert 0.7 < counts["idle"] / 2000 < 0.8  # busy only when it was drawn twice: one time in four


def test_two_choices_never_take_the_busiest_of_three_unless_drawn_twice() -> None:
    workers = AWorker("a", 0), AWorker("b", 1), AWorker("c", 9)
    counts = Counter(chosen(power_of_two_choices, *workers, task=task) for task in many_tasks())
    assert counts["a"] > counts["b"] > counts["c"] > 0


def test_unknown_policy_name_is_refused_with_the_known_names() -> None:
    assert named("least_busy") is least_busy
    with pytest.raises(InvalidInput, match="'fastest' is unknown.*round_robin"):
        named("fastest")
