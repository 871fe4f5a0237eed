"""Planned arrivals, figures, and the search for the knee."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from labkit.core.errors import InvalidInput
from labkit.load.arrivals import BURST_EVERY_S, PATTERNS, Load
from labkit.load.ramp import CLOSE, Ramp
from labkit.load.report import Outcome, report


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_seed_plans_the_same_arrivals(pattern: str) -> None:
    plan = Load(pattern, 40.0, 10.0, seed=3).arrivals()
    assert plan == Load(pattern, 40.0, 10.0, seed=3).arrivals() == sorted(plan)
    assert plan[0] >= 0 and plan[-1] <= 10.0


def test_even_loads_have_exactly_so_many_tasks() -> None:
    assert len(Load.of_tasks("simple", 50, 7.0).arrivals()) == 50
    assert Load("sustained", 2.0, 2.0).arrivals() == [0.0, 0.5, 1.0, 1.5]


def test_a_burst_comes_at_one_instant() -> None:
    plan = Load("burst", 10.0, 6.0).arrivals()
    assert {at: plan.count(at) for at in plan} == {0.0: 20, BURST_EVERY_S: 20, 2 * BURST_EVERY_S: 20}


def test_arrivals_by_chance_have_the_rate_and_the_spread_of_poisson() -> None:
    plan = Load("continuous", 100.0, 200.0, seed=1).arrivals()
    assert 19_000 < len(plan) < 21_000
    per_second = [sum(1 for at in plan if second <= at < second + 1) for second in range(200)]
    mean = sum(per_second) / 200
    variance = sum((n - mean) ** 2 for n in per_second) / 199
    assert 0.7 * mean < variance < 1.4 * mean, "of a Poisson process they are equal"
    assert Load("continuous", 100.0, 200.0, seed=2).arrivals() != plan


@pytest.mark.parametrize("seed", range(50))
def test_even_a_thin_load_has_a_task(seed: int) -> None:
    plan = Load("continuous", 0.1, 1.0, seed).arrivals()
    assert plan and plan == sorted(plan)


@pytest.mark.parametrize(
    ("pattern", "rate", "seconds"),
    [("flood", 1, 1), ("simple", 0, 1), ("simple", -1, 1), ("simple", float("nan"), 1), ("simple", 1, 0),
     ("simple", 1, 1e9), ("simple", 1e5, 100), ("burst", float("inf"), 1)],
)  # fmt: skip
def test_numbers_that_are_no_load_are_refused(pattern: str, rate: float, seconds: float) -> None:
    with pytest.raises(InvalidInput):
        Load(pattern, rate, seconds)
    with pytest.raises(InvalidInput):
        Load.of_tasks("simple", 0, 1.0)


@pytest.mark.parametrize(
    ("rate", "seconds", "why"),
    [(10.0, 1e7, "too long"), (10.0, float("inf"), "too long"), (1e6, 1.0, "per second are too many"),
     (float("inf"), 1.0, "per second are too many"), (1e3, 3600.0, "3600000 tasks are too many"),
     (0.0, 1e9, "more than 0"), (1.0, float("nan"), "more than 0")],
)  # fmt: skip
def test_a_load_that_is_too_much_is_called_so(rate: float, seconds: float, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Load("simple", rate, seconds)


@pytest.mark.parametrize("tasks", [100_000_000, 10**400], ids=["1e8", "1e400"])
def test_too_many_tasks_are_named_by_their_number(tasks: int) -> None:
    with pytest.raises(InvalidInput, match="tasks are too many for one load; at most 100000"):
        Load.of_tasks("simple", tasks, 10.0)


def test_waiting_counts_from_the_planned_instant() -> None:
    late = Outcome(planned=1.0, submitted=3.0, ended=4.0, compute_s=0.5, worker="w-1")
    assert (late.response_s, late.waiting_s) == (3.0, 2.5)


def test_a_report_counts_everything_once() -> None:
    outcomes = [Outcome(n * 0.1, n * 0.1, n * 0.1 + 0.2, 0.2, f"w-{n % 2}") for n in range(9)] + [
        Outcome(0.9, 0.9, 2.0, None, "", "TaskHung")
    ]
    figures = report(outcomes, 1.0)
    assert (figures.tasks, figures.offered, figures.errors) == (10, 10.0, {"TaskHung": 1})
    assert figures.by_worker == {"w-0": 5, "w-1": 4} and figures.achieved == pytest.approx(4.5)
    assert figures.waiting_s == pytest.approx((0.0, 0.0, 0.0)) and figures.service_s == pytest.approx(
        (0.2,) * 3
    )
    assert figures.on_time and figures.as_json()["waiting_s"]["p95"] == pytest.approx(0.0)


def test_a_generator_that_is_late_says_so() -> None:
    outcomes = [Outcome(n * 0.1, n * 0.3, n * 0.3 + 0.1, 0.1, "w") for n in range(10)]
    assert not report(outcomes, 1.0).on_time


def served(load: Load, slots: int, task_s: float, seed: int) -> list[Outcome]:
    """Return what so many slots make of a load: a queue, first come first served, on a virtual clock."""
    random, free = Random(seed), [0.0] * slots
    outcomes = []
    for at in load.arrivals():
        compute_s = task_s * random.uniform(0.9, 1.1)
        begins = max(at, heapq.heappop(free))
        heapq.heappush(free, begins + compute_s)
        outcomes.append(Outcome(at, at, begins + compute_s, compute_s, "w"))
    return outcomes


@pytest.mark.parametrize("seed", range(20))
def test_the_ramp_finds_a_knee_that_is_known(seed: int) -> None:
    random = Random(seed)
    slots, task_s = random.randint(1, 8), random.uniform(0.01, 0.2)
    knee = slots / task_s
    ramp = Ramp(start=knee * random.uniform(0.05, 3.0), bound_s=2 * task_s)
    while not ramp.over:
        rate = ramp.next_rate()
        load = Load("sustained", rate, 400 / rate)
        ramp.take(rate, report(served(load, slots, task_s, seed), load.seconds))
    assert ramp.knee is not None and ramp.beyond is not None
    assert ramp.beyond < CLOSE * ramp.knee
    assert 0.75 * knee < ramp.knee < 1.1 * knee


def test_the_ramp_ends_without_a_verdict_if_the_generator_is_late() -> None:
    ramp = Ramp(10.0, 0.1)
    assert not ramp.take(10.0, report([Outcome(n * 0.1, n * 0.3, n * 0.3, 0.0, "w") for n in range(10)], 1.0))
    assert ramp.over and ramp.late and ramp.knee is None


def test_a_cluster_that_follows_nothing_has_no_knee() -> None:
    ramp = Ramp(64.0, 0.1)
    while not ramp.over:
        rate = ramp.next_rate()
        ramp.take(rate, report([Outcome(0.0, 0.0, 99.0, 1.0, "w")], 1 / rate))
    assert ramp.knee is None and len(ramp.steps) < 20
