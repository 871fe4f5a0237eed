"""The generator beside a target of the test's own: no cluster, no network."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from labkit.core.errors import ClientGone
from labkit.load.arrivals import Load
from labkit.load.generator import Generator, Offered
from labkit.load.planner import INTERRUPTED, UNFINISHED
from labkit.load.targets import Ending

QUICK = Load("simple", 200.0, 0.1)
"""Twenty tasks in a tenth of a second."""


class Playing:
    """A target that ends each task as ``play`` returns it; None: never."""

    most_open = 100

    def __init__(
        self, ended: Callable[[Ending], object], play: Callable[[int], Ending | None] | None = None
    ) -> None:
        self._ended = ended
        self._play = play or (lambda number: Ending(number, time.monotonic(), 0.001, "w", ""))
        self.submitted: list[int] = []
        self.dropped = 0
        self.closed = False

    def submit(self, number: int) -> None:
        self.submitted.append(number)
        if (ending := self._play(number)) is not None:
            self._ended(ending)

    def drop(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.closed = True


def generator(play: Callable[[int], Ending | None] | None = None) -> tuple[Generator, Playing]:
    made: list[Playing] = []

    def make(ended: Callable[[Ending], object]) -> Playing:
        made.append(Playing(ended, play))
        return made[0]

    return Generator(make), made[0]


def errors_of(offered: Offered) -> dict[str, int]:
    assert offered.report is not None
    return offered.report.errors


def test_every_planned_task_is_submitted_once_and_has_an_outcome() -> None:
    load, target = generator()
    offered = load.offer(QUICK)
    assert target.submitted == list(range(20)) and not offered.interrupted
    assert offered.report is not None and offered.report.by_worker == {"w": 20}
    assert target.dropped == 0
    load.close()
    assert target.closed


def test_a_target_that_refuses_is_an_error_of_that_task_only() -> None:
    def play(number: int) -> Ending:
        if number % 2:
            raise ClientGone("the client is closed")
        return Ending(number, time.monotonic(), 0.001, "w", "")

    assert errors_of(generator(play)[0].offer(QUICK)) == {"ClientGone": 10}


def test_what_never_ends_is_given_up_and_cancelled() -> None:
    load, target = generator(lambda number: None)
    assert errors_of(load.offer(QUICK, patience_s=0.05)) == {UNFINISHED: 20}
    assert target.dropped == 1


def test_an_outcome_of_the_load_before_is_not_one_of_this_load() -> None:
    late: list[Ending] = []

    def play(number: int) -> Ending | None:
        if number == 3:
            late.append(Ending(3, time.monotonic(), 0.001, "slow", ""))
            return None
        return late[0] if number == 25 else Ending(number, time.monotonic(), 0.001, "w", "")

    load, _target = generator(play)
    assert errors_of(load.offer(QUICK, patience_s=0.05)) == {UNFINISHED: 1}
    second = load.offer(QUICK, patience_s=0.05)
    assert errors_of(second) == {UNFINISHED: 1}, "task 25 has no outcome of its own"
    assert second.report is not None and second.report.by_worker == {"w": 19}


def test_the_kill_comes_once() -> None:
    kills: list[float] = []
    generator()[0].offer(QUICK, kill_after_s=0.05, kill=lambda: kills.append(time.monotonic()))
    assert len(kills) == 1


def test_ctrl_c_ends_a_load_with_what_there_is() -> None:
    def play(number: int) -> Ending | None:
        if number == 5:
            raise KeyboardInterrupt
        return Ending(number, time.monotonic(), 0.001, "w", "") if number < 4 else None

    load, target = generator(play)
    offered = load.offer(Load("simple", 200.0, 100.0))
    assert offered.interrupted and errors_of(offered)[INTERRUPTED] >= 1
    assert offered.report is not None and offered.report.by_worker["w"] == 4
    assert target.dropped == 1 and offered.seconds < 100.0


def test_ctrl_c_ends_a_ramp_with_the_rates_so_far() -> None:
    def play(number: int) -> Ending:
        if number == 30:
            raise KeyboardInterrupt
        return Ending(number, time.monotonic(), 0.0001, "w", "")

    def of_rate(rate: float) -> Load:
        return Load("ramp", rate, 20 / rate)

    search, interrupted = generator(play)[0].ramp(200.0, 5.0, of_rate, lambda _planner, _began: None)
    assert interrupted and len(search.steps) <= 1


def test_what_watches_sees_each_load_begin() -> None:
    seen: list[int] = []
    generator()[0].offer(QUICK, watch=lambda planner, _began: seen.append(planner.progress().planned))
    assert seen == [20]


@pytest.mark.parametrize("kill_after_s", [None, 50.0])
def test_a_load_ends_with_its_last_outcome(kill_after_s: float | None) -> None:
    offered = generator()[0].offer(QUICK, kill_after_s=kill_after_s)
    assert offered.progress.open == 0 and offered.progress.submitted == 20
