"""One step of a stress test: what it counts, and that a simulated cluster has the knee of its size."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from labkit.practice.exercises.ex25_knee import play
from labkit.practice.exercises.ex25_knee.check import _judge_steps
from labkit.practice.load import Measured, measured, simulated_step
from labkit.practice.verdict import Finding

Measure = Callable[[float], Measured]


def test_a_step_counts_intervals_not_tasks() -> None:
    submitted = {"a": 1.0, "b": 1.5, "c": 2.0}
    assert measured(submitted, {"a": 1.5, "b": 2.0, "c": 3.0}) == Measured(2.0, 2 / 1.5, 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_below_its_knee_a_simulated_cluster_follows_and_above_it_does_not(seed: int) -> None:
    slots, task_s = [1, 2, 1], 0.05
    knee = sum(slots) / task_s
    light, heavy = (simulated_step(seed, slots, task_s, part * knee) for part in (0.5, 2.0))
    assert light.done == pytest.approx(light.offered, rel=0.1)
    assert heavy.done == pytest.approx(knee, rel=0.15)
    assert heavy.p95_s > 2 * light.p95_s


def test_the_same_step_gives_the_same_numbers() -> None:
    assert simulated_step(3, [1, 1], 0.05, 30.0) == simulated_step(3, [1, 1], 0.05, 30.0)


def again_and_again(measure: Measure, start: float) -> float:
    while True:
        try:
            measure(start)
        except play.TooMany:
            return 1.0


@pytest.mark.parametrize(
    ("find_knee", "code"),
    [
        (lambda _measure, _start: None, "wrong-type"),
        (lambda _measure, _start: "many", "wrong-type"),
        (lambda _measure, _start: float("nan"), "wrong-type"),
        (lambda measure, start: -measure(start).done, "wrong-type"),
        (lambda _measure, _start: True, "wrong-type"),
        (lambda _measure, start: start, "not-beyond"),
        (again_and_again, "too-many"),
        (lambda measure, _start: measure(1e9).done, "jump"),
    ],
)
def test_odd_answers_are_findings(find_knee: Callable[[Measure, float], Any], code: str) -> None:
    module = ModuleType("ex25_knee")
    module.find_knee = find_knee  # type: ignore[attr-defined]
    found = play.simulated(module, 1, [1, 1], 0.01, 40.0)
    with pytest.raises(Finding) as caught:
        _judge_steps(found)
    assert caught.value.code == code


@pytest.mark.parametrize("rate", [0, -1.0, float("inf"), float("nan"), "fast", None])
def test_a_rate_that_is_none_is_the_learners_error(rate: Any) -> None:
    module = ModuleType("ex25_knee")
    module.find_knee = lambda measure, _start: measure(rate)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="a rate of at least 4 tasks per second"):
        play.simulated(module, 1, [1, 1], 0.01, 40.0)


def test_a_machine_that_cannot_offer_the_load_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "simulated_step", lambda *_given: Measured(10.0, 10.0, 0.1))
    module = ModuleType("ex25_knee")
    module.find_knee = lambda measure, start: measure(2 * start).done  # type: ignore[attr-defined]
    assert play.simulated(module, 1, [1, 1], 0.01, 10.0)["why"] == "cannot-offer"


def test_steps_of_a_search_that_ended_by_itself_are_accepted() -> None:
    steps = [[10.0, 10.0, 10.0, 0.1, []], [20.0, 20.0, 15.0, 0.9, []]]
    assert _judge_steps({"answer": 15.0, "kind": "float", "why": "", "steps": steps}) == 15.0
    with pytest.raises(Finding):
        _judge_steps({"answer": 25.0, "kind": "float", "why": "", "steps": steps})
