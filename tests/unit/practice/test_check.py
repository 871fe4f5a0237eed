"""A check runs its stages in order, for the seeds from 0, and turns what they raise into a verdict."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labkit.core.errors import InvariantBroken, LabkitError
from labkit.practice import check as checking
from labkit.practice.check import REAL, SIMULATED, check
from labkit.practice.exercise import Exercise
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding, Inconclusive, Kind


@pytest.fixture
def checker(monkeypatch: pytest.MonkeyPatch, exercise: Exercise, root: Path) -> ModuleType:
    """The exercise's check.py, to be filled by the test; the learner's file is right."""
    (root / "work" / f"{exercise.module}.py").write_text("def double(n):\n    return 2 * n\n")
    module = ModuleType("check")
    monkeypatch.setattr(checking, "checker_of", lambda _exercise: module)
    return module


def fill(module: ModuleType, **functions: Any) -> list[str]:
    """Give the checker these functions; return the list in which their calls are noted."""
    calls: list[str] = []

    def noting(name: str, function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            calls.append(f"{name} {arguments[1]}" if name == SIMULATED else name)
            return function(*arguments)

        return run

    for name, function in functions.items():
        setattr(module, name, noting(name, function))
    return calls


def finding() -> Finding:
    return Finding("bad", "{n} is bad", expected="good", advice="try", n=7)


def raises(error: Exception) -> Any:
    def run(*_arguments: Any) -> None:
        raise error

    return run


def test_both_stages_pass_in_order(checker: ModuleType, exercise: Exercise, root: Path) -> None:
    together: list[Any] = []
    calls = fill(
        checker,
        simulated=lambda learner, seed: learner.call("double", seed),
        together=together.append,
        real=lambda learner: learner.call("double", 1),
    )
    verdict = check(exercise, root)
    assert verdict.passed
    assert calls == ["simulated 0", "simulated 1", "together", "real"]
    assert together == [[0, 2]]


def test_the_smallest_seed_that_fails_decides(checker: ModuleType, exercise: Exercise, root: Path) -> None:
    def simulated(learner: Learner, seed: int) -> None:
        if seed >= 1:
            raise finding()

    calls = fill(checker, simulated=simulated, real=lambda learner: None)
    verdict = check(exercise, root, seeds=range(5))
    assert (verdict.kind, verdict.stage, verdict.seed, verdict.code) == (Kind.FAIL, SIMULATED, 1, "bad")
    assert verdict.as_json()["happened"] == "7 is bad"
    assert calls == ["simulated 0", "simulated 1"]


@pytest.mark.parametrize("error", [Inconclusive("too busy"), LabkitError("no free port")])
def test_what_the_machine_does_not_allow_is_inconclusive(
    checker: ModuleType, exercise: Exercise, root: Path, error: LabkitError
) -> None:
    fill(checker, real=raises(error))
    verdict = check(exercise, root)
    assert (verdict.kind, verdict.stage, verdict.code) == (Kind.INCONCLUSIVE, REAL, "")
    assert verdict.happened == error.template


def test_an_error_of_labkit_itself_is_no_verdict(checker: ModuleType, exercise: Exercise, root: Path) -> None:
    fill(checker, simulated=raises(InvariantBroken("a bug")))
    with pytest.raises(InvariantBroken):
        check(exercise, root)


def test_an_answer_that_the_check_cannot_compute_with_is_of_the_wrong_type(
    checker: ModuleType, exercise: Exercise, root: Path
) -> None:
    (root / "work" / f"{exercise.module}.py").write_text("def double(n):\n    return [None] * n\n")
    fill(checker, simulated=lambda learner, seed: sum(learner.call("double", seed + 1)))
    verdict = check(exercise, root)
    assert (verdict.kind, verdict.code, verdict.seed) == (Kind.FAIL, "wrong-type", 0)
    assert verdict.as_json()["happened"].endswith(": [None]")


def test_an_error_before_any_answer_is_ours(checker: ModuleType, exercise: Exercise, root: Path) -> None:
    fill(checker, simulated=lambda learner, seed: 1 / seed)
    with pytest.raises(ZeroDivisionError):
        check(exercise, root)


def test_one_stage_alone(checker: ModuleType, exercise: Exercise, root: Path) -> None:
    calls = fill(checker, simulated=lambda learner, seed: None, real=lambda learner: None)
    assert check(exercise, root, stages=(REAL,)).passed
    assert check(exercise, root, stages=(SIMULATED,), seeds=range(9, 10)).passed
    assert calls == ["real", "simulated 9"]
