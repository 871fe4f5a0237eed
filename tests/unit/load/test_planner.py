"""What the generator of a load does when, on a simulated clock."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from labkit.load.arrivals import BURST, PATTERNS, Load
from labkit.load.planner import INTERRUPTED, MOST_AT_ONCE, NOT_SENT, UNFINISHED, Planner
from labkit.load.report import Outcome, report


def driven(planner: Planner, task_s: float, slots: int, until: float = 1e9) -> list[float]:
    """Drive a planner on a virtual clock against so many slots; return when it submitted each task."""
    now, free = 0.0, [0.0] * slots
    running: list[tuple[float, int]] = []
    submitted: list[float] = []
    while not planner.is_over and now < until:
        for number in planner.due(now):
            submitted.append(now)
            begins = max(now, heapq.heappop(free))
            heapq.heappush(free, begins + task_s)
            heapq.heappush(running, (begins + task_s, number))
        if planner.is_over:
            break
        now = min([now + planner.wait_s(now), *(at for at, _number in running[:1])])
        while running and running[0][0] <= now:
            at, number = heapq.heappop(running)
            planner.ended(number, at, task_s, "w", "")
        planner.give_up(now)
    return submitted


def planner_of(load: Load, **options: float) -> Planner:
    return Planner(load.arrivals(), load.seconds, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("slots", [1, 100])
def test_tasks_are_submitted_when_they_are_planned_however_slow_the_cluster_is(
    pattern: str, slots: int
) -> None:
    load = Load(pattern, 20.0, 4.0, seed=5)
    planner = planner_of(load)
    assert driven(planner, 0.2, slots) == pytest.approx(load.arrivals())
    assert report(planner.outcomes, load.seconds).on_time
    assert planner.progress().done == len(load.arrivals()) == len(planner.outcomes)


def test_a_slow_cluster_cannot_hide_its_queue() -> None:
    load = Load("sustained", 10.0, 10.0)
    planner = planner_of(load)
    driven(planner, 0.2, slots=1)  # half as fast as tasks arrive
    figures = report(planner.outcomes, load.seconds)
    assert not figures.kept_up and figures.achieved == pytest.approx(5.0)
    assert figures.waiting_s[1] > 9, "the last ones wait for half of the others"


def test_a_large_burst_is_submitted_in_pieces_at_the_same_instant() -> None:
    load = Load(BURST, 100.0, 2.0)
    planner = planner_of(load)
    assert len(planner.due(0.0)) == MOST_AT_ONCE
    assert planner.wait_s(0.0) == 0.0
    while planner.due(0.0):
        pass
    assert planner.progress().submitted == 200


def test_too_many_under_way_are_not_put_off_but_counted() -> None:
    planner = Planner([0.0, 0.1, 0.2], 0.3, most_open=2)
    assert planner.due(0.25) == [0, 1]
    planner.ended(0, 0.3, 0.1, "w", "")
    assert planner.due(0.3) == []
    planner.ended(1, 0.4, 0.1, "w", "")
    assert planner.is_over
    assert report(planner.outcomes, 0.3).errors == {NOT_SENT: 1}


def test_the_generator_gives_up_on_what_never_ends() -> None:
    planner = Planner([0.0, 1.0], 2.0, patience_s=5.0)
    assert planner.due(1.0) == [0, 1]
    planner.give_up(6.9)
    assert not planner.is_over and planner.wait_s(6.9) == pytest.approx(0.1)
    planner.give_up(7.0)
    assert planner.is_over and report(planner.outcomes, 2.0).errors == {UNFINISHED: 2}
    planner.ended(0, 8.0, 1.0, "w", "")
    assert len(planner.outcomes) == 2, "a late result is no second outcome"


def test_a_stop_forgets_what_was_not_due_and_keeps_the_figures_so_far() -> None:
    planner = planner_of(Load("sustained", 10.0, 100.0))
    for now in (0.0, 0.1, 0.2):
        (number,) = planner.due(now)
        if number < 2:
            planner.ended(number, now + 0.05, 0.05, "w", "")
    planner.stop(0.3)
    assert planner.is_over and not planner.due(50.0) and planner.seconds == 0.3
    figures = report(planner.outcomes, planner.seconds)
    assert figures.errors == {INTERRUPTED: 1} and figures.by_worker == {"w": 2}
    assert figures.offered == pytest.approx(10.0), "as planned until then"


def test_a_stop_before_the_first_task_leaves_no_outcome() -> None:
    planner = Planner([0.5], 1.0)
    planner.stop(0.0)
    assert planner.is_over and planner.outcomes == []


def test_the_kill_is_due_once_and_wakes_the_generator() -> None:
    planner = Planner([0.0, 10.0], 20.0, kill_after_s=3.0)
    planner.due(0.0)
    assert planner.wait_s(0.0) == 3.0 and not planner.kill_due(2.9)
    assert planner.kill_due(3.2) and not planner.kill_due(3.3)
    assert planner.wait_s(3.3) == pytest.approx(6.7)


def test_after_a_stop_nothing_is_killed() -> None:
    planner = Planner([0.0], 20.0, kill_after_s=3.0)
    planner.due(0.0)
    planner.stop(1.0)
    assert not planner.kill_due(4.0)


@pytest.mark.parametrize("seed", range(30))
def test_every_task_that_was_due_has_exactly_one_outcome(seed: int) -> None:
    random = Random(seed)
    load = Load(random.choice(list(PATTERNS)), random.uniform(5, 80), random.uniform(0.5, 4), seed)
    planner = planner_of(load, most_open=random.randint(1, 50), patience_s=random.uniform(0, 3))
    driven(planner, random.uniform(0.01, 0.5), random.randint(1, 8), until=random.choice([1.0, 1e9]))
    if not planner.is_over:
        planner.stop(1.0)
    progress = planner.progress()
    assert progress.open == 0 and progress.done + progress.errors == len(planner.outcomes)
    planned = sorted(outcome.planned for outcome in planner.outcomes)
    assert planned == pytest.approx(load.arrivals()[: len(planned)])
    assert len(planned) == len(load.arrivals()) or planner.seconds <= 1.0


def test_a_generator_that_is_late_by_more_than_the_tasks_wait_says_so() -> None:
    outcomes = [Outcome(n * 0.1, n * 0.1 + 0.2, n * 0.1 + 0.25, 0.05, "w") for n in range(50)]
    assert not report(outcomes, 5.0).on_time, "all of the waiting is the generator's"
    waiting = [Outcome(n * 0.1, n * 0.1 + 0.2, n * 0.1 + 3.0, 0.05, "w") for n in range(50)]
    assert report(waiting, 5.0).on_time, "the cluster's queue is far longer"
