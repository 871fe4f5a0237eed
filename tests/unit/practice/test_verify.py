"""What ``verify`` finds in an exercise that is not sound."""

from __future__ import annotations

import pytest

from labkit.practice import verify as proof
from labkit.practice.exercise import Exercise
from labkit.practice.verdict import Kind, Verdict


@pytest.mark.parametrize("language", ["en", "es"])
def test_an_empty_hint_is_a_fault_and_no_traceback(exercise: Exercise, language: str) -> None:
    file = exercise.folder / f"{language}.md"
    file.write_text(file.read_text(encoding="utf-8").replace("two\n", "\n"), encoding="utf-8")
    (fault,) = proof.verify(exercise)
    assert f"{language}.md" in str(fault) and "3 hints" in str(fault)


def test_a_check_that_the_machine_was_too_busy_for_is_run_again(
    exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Kind.INCONCLUSIVE, Kind.INCONCLUSIVE, Kind.PASS, Kind.FAIL]
    monkeypatch.setattr(proof, "run", lambda *_arguments: Verdict("double", answers.pop(0)))
    assert proof._settled(exercise, "").kind is Kind.PASS
    answers[:] = [Kind.INCONCLUSIVE] * 4
    assert proof._settled(exercise, "").kind is Kind.INCONCLUSIVE and len(answers) == 1
