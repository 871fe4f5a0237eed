"""Grades a class: runs the checks again on every hand-in, and never trusts a state file.

``DIR`` holds a folder per learner. In it, the exercises' files are found by their names, such as
``ex12_least_busy.py``, at the top or in ``work/``. Each file is copied into an empty folder and checked there
by itself, in a process with limits (`limits`). Progress records are not read. Files that are equal apart from
comments and layout are reported together.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.core.errors import N_, InvalidInput
from labkit.practice.check import STAGES, check
from labkit.practice.exercise import Exercise
from labkit.practice.limits import restrict
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import stub_of

MISSING = "missing"


@dataclass(frozen=True)
class HandIn:
    """One learner's file for one exercise."""

    learner: str
    exercise: Exercise
    file: Path


@dataclass(frozen=True)
class Grade:
    """The verdict on a hand-in; None if the learner handed nothing in."""

    learner: str
    exercise: Exercise
    verdict: Verdict | None

    @property
    def word(self) -> str:
        """pass, fail, inconclusive or missing."""
        return MISSING if self.verdict is None else str(self.verdict.kind)


def hand_ins(folder: Path, exercises: Sequence[Exercise]) -> tuple[list[str], list[HandIn]]:
    """Return the learners, one per subfolder, and their files. Raises InvalidInput if there are none."""
    if not folder.is_dir():
        raise InvalidInput(N_("{folder} is no folder"), folder=folder)
    learners = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not learners:
        raise InvalidInput(N_("{folder} holds no folders; each learner's files are in one"), folder=folder)
    found = [
        HandIn(learner.name, exercise, file)
        for learner in learners
        for exercise in exercises
        if (file := _file(learner, exercise)) is not None
    ]
    return [learner.name for learner in learners], found


def _file(learner: Path, exercise: Exercise) -> Path | None:
    name = f"{exercise.module}.py"
    return next((path for path in (learner / name, learner / "work" / name) if path.is_file()), None)


def grade(
    learners: Sequence[str],
    files: Sequence[HandIn],
    exercises: Sequence[Exercise],
    stages: tuple[str, ...] = STAGES,
    report: Callable[[Grade], None] = lambda _grade: None,
) -> list[Grade]:
    """Return a grade for each learner and exercise; ``report`` is called with each as it is known."""
    by_place = {(one.learner, one.exercise.id): one for one in files}
    grades = []
    for learner in learners:
        for exercise in exercises:
            handed_in = by_place.get((learner, exercise.id))
            verdict = None if handed_in is None else _check(handed_in, stages)
            grades.append(Grade(learner, exercise, verdict))
            report(grades[-1])
    return grades


def _check(handed_in: HandIn, stages: tuple[str, ...]) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="labkit-grade-") as root:
        Path(root).chmod(0o755)  # the learner's process may run as another user (`limits`)
        work = Path(root, "work")
        work.mkdir()
        shutil.copyfile(handed_in.file, work / f"{handed_in.exercise.module}.py")
        return check(handed_in.exercise, Path(root), stages=stages, prepare=restrict)


# --- what a teacher reads -----------------------------------------------------------------------------------


def as_csv(grades: Sequence[Grade]) -> str:
    """Return a table: a row per learner, a column per exercise, and how many are passed."""
    exercises = list(dict.fromkeys(one.exercise for one in grades))
    rows: dict[str, dict[str, Grade]] = defaultdict(dict)
    for one in grades:
        rows[one.learner][one.exercise.id] = one
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learner", *(exercise.id for exercise in exercises), "passed"])
    for learner, row in rows.items():
        words = [row[exercise.id].word for exercise in exercises]
        writer.writerow([_harmless(learner), *words, words.count(Kind.PASS)])
    return text.getvalue()


def _harmless(text: str) -> str:
    """Return a name that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text


def failure_rates(grades: Sequence[Grade]) -> list[tuple[str, str, int, int]]:
    """Return (exercise, finding's code, how many failed by it, hand-ins), the most frequent first."""
    failed: Counter[tuple[str, str]] = Counter()
    handed_in: Counter[str] = Counter()
    for one in grades:
        if one.verdict is not None:
            handed_in[one.exercise.id] += 1
            if one.verdict.kind is Kind.FAIL:
                failed[one.exercise.id, one.verdict.code] += 1
    return [(name, code, count, handed_in[name]) for (name, code), count in failed.most_common()]


def identical(files: Sequence[HandIn]) -> Iterator[tuple[Exercise, list[str]]]:
    """Yield the learners whose files for an exercise are equal, apart from comments and layout.

    Unchanged stubs do not count.
    """
    same: dict[tuple[str, str], list[HandIn]] = defaultdict(list)
    for one in files:
        same[one.exercise.id, _fingerprint(one.file.read_bytes())].append(one)
    for (_name, fingerprint), group in same.items():
        if len(group) > 1 and fingerprint != _fingerprint(stub_of(group[0].exercise).encode()):
            yield group[0].exercise, [one.learner for one in group]


def _fingerprint(source: bytes) -> str:
    """Return a digest of the program, without comments, layout and docstrings; of the bytes if it is none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return hashlib.sha256(source).hexdigest()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
