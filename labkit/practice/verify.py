"""Proves that an exercise is sound: for authors, and in CI over all exercises.

* The stub fails, with the finding that it is meant to show, and does not crash the check.
* The solution passes, on ``SEEDS`` seeds and on real processes.
* Each planted wrong solution is rejected, for the reason that its first line names. There are at least
  ``WRONG`` of them.
* A file in which everything is commented out does not pass.
* Both languages are complete, and no hint before the last one gives the whole answer.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labkit.core.errors import N_, InvariantBroken, LabkitError
from labkit.practice import texts
from labkit.practice.check import STAGES, check
from labkit.practice.exercise import Exercise
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import solution_of, stub_of

SEEDS = 20
WRONG = 3
REJECTED_BY = re.compile(r"# rejected by: ([\w-]+)")


ATTEMPTS = 3
"""A check that the machine was too busy for is run again, so often; then its fault is *inconclusive*."""


class Unsound(LabkitError):
    """Something is wrong with the exercise itself."""


def verify(exercise: Exercise, stages: tuple[str, ...] = STAGES) -> Iterator[Unsound]:
    """Yield what is wrong with an exercise; nothing if it is sound."""
    if faults := list(_texts(exercise)):
        yield from faults
        return  # without a title there is neither stub nor solution
    yield from _hints(exercise)
    yield from _stub(exercise)
    yield from _solution(exercise, stages)
    yield from _wrong(exercise, stages)


def run(
    exercise: Exercise, code: str, stages: tuple[str, ...] = STAGES, seeds: range | None = None
) -> Verdict:
    """Return the verdict on ``code`` as the learner's file, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="labkit-verify-") as root:
        file = Path(root, "work", f"{exercise.module}.py")
        file.parent.mkdir()
        file.write_text(code, encoding="utf-8")
        return check(exercise, Path(root), stages=stages, seeds=seeds)


def _settled(
    exercise: Exercise, code: str, stages: tuple[str, ...] = STAGES, seeds: range | None = None
) -> Verdict:
    """Return a verdict that is not inconclusive if one of ``ATTEMPTS`` gives one, else the last."""
    for _attempt in range(ATTEMPTS):
        verdict = run(exercise, code, stages, seeds)
        if verdict.kind is not Kind.INCONCLUSIVE:
            break
    return verdict


def _texts(exercise: Exercise) -> Iterator[Unsound]:
    """Yield a fault for each language that lacks a title, a task or a hint."""
    for language in texts.LANGUAGES:
        try:
            texts.read(exercise, language)
        except InvariantBroken as error:
            yield Unsound(error.template, **error.params)


def _hints(exercise: Exercise) -> Iterator[Unsound]:
    answer = _compact(_answer(exercise))
    for language in texts.LANGUAGES:
        for number, hint in enumerate(texts.read(exercise, language).hints[:-1], 1):
            if answer and answer in _compact(hint):
                yield Unsound(
                    N_("{exercise}, {language}: hint {number} gives the whole answer"),
                    exercise=exercise.id,
                    language=language,
                    number=number,
                )


def _answer(exercise: Exercise) -> str:
    """Return the lines that the solution has and the stub lacks."""
    stub = set(stub_of(exercise).splitlines())
    return "\n".join(line for line in solution_of(exercise).splitlines() if line not in stub)


def _compact(code: str) -> str:
    return re.sub(r"\s+", "", code)


def _stub(exercise: Exercise) -> Iterator[Unsound]:
    for name, code in (
        (LabkitError(N_("the stub")), stub_of(exercise)),
        (LabkitError(N_("a file with everything commented out")), _commented_out(exercise)),
    ):
        verdict = _settled(exercise, code)
        if verdict.kind is not Kind.FAIL or verdict.code in ("import", "ended", "signature"):
            yield _unexpected(exercise, name, verdict, "fail")


def _commented_out(exercise: Exercise) -> str:
    return "".join(f"# {line}\n" for line in solution_of(exercise).splitlines())


def _solution(exercise: Exercise, stages: tuple[str, ...]) -> Iterator[Unsound]:
    seeds = range(max(SEEDS, exercise.seeds)) if exercise.seeds else None
    verdict = _settled(exercise, solution_of(exercise), stages, seeds)
    if not verdict.passed:
        yield _unexpected(exercise, LabkitError(N_("the solution")), verdict, "pass")


def _wrong(exercise: Exercise, stages: tuple[str, ...]) -> Iterator[Unsound]:
    files = sorted((exercise.folder / "wrong").glob("*.py"))
    if len(files) < WRONG:
        yield Unsound(
            N_("{exercise} has {files} planted wrong solutions, {wanted} are needed"),
            exercise=exercise.id,
            files=len(files),
            wanted=WRONG,
        )
    for file in files:
        code = file.read_text(encoding="utf-8")
        first = REJECTED_BY.match(code)
        verdict = _settled(exercise, code, stages)
        if first is None or verdict.kind is not Kind.FAIL or verdict.code != first[1]:
            yield _unexpected(exercise, f"wrong/{file.name}", verdict, first[1] if first else "?")


def _unexpected(exercise: Exercise, what: str | LabkitError, verdict: Verdict, expected: str) -> Unsound:
    return Unsound(
        N_("{exercise}: {what} gives {kind} {code}, not {expected}: {happened}"),
        exercise=exercise.id,
        what=what,
        kind=str(verdict.kind),
        code=verdict.code,
        expected=expected,
        happened=verdict.as_json()["happened"],
    )
