"""Grades a class: runs the checks again on every hand-in, and never trusts a state file.

``DIR`` holds a folder or a zip archive per learner. In it, the exercises' files are found by their names,
such as ``ex12_least_busy.py``, at any depth (`hand_ins`). Each file is written into an empty folder and
checked there by itself, in a process of its own (`judge`) with limits (`limits`). Progress records are not
read. Files that are equal apart from comments, layout and the names of variables are reported together.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.practice.check import STAGES
from labkit.practice.exercise import Exercise
from labkit.practice.hand_ins import HandIn, hand_ins
from labkit.practice.judge import judge_apart
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import stub_of

__all__ = ["Grade", "HandIn", "as_csv", "failure_rates", "grade", "hand_ins", "identical"]

MISSING = "missing"


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
        (work / f"{handed_in.exercise.module}.py").write_bytes(handed_in.source)
        return judge_apart(handed_in.exercise, Path(root), stages)


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
    """Yield the learners whose files for an exercise are equal: comments, layout and names do not count.

    Unchanged stubs do not count.
    """
    same: dict[tuple[str, str], list[HandIn]] = defaultdict(list)
    for one in files:
        same[one.exercise.id, _fingerprint(one.source)].append(one)
    for (_name, fingerprint), group in same.items():
        if len(group) > 1 and fingerprint != _fingerprint(stub_of(group[0].exercise).encode()):
            yield group[0].exercise, [one.learner for one in group]


def _fingerprint(source: bytes) -> str:
    """Return a digest of the program without comments, layout, docstrings and the names that it chose itself.

    Of bytes that are no program it is a digest of the bytes.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256(source).hexdigest()
    chosen = _Chosen()
    chosen.visit(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
        for field in ("id", "arg", "name", "asname"):
            if getattr(node, field, None) in chosen.names:
                setattr(node, field, chosen.names[getattr(node, field)])
    return hashlib.sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()


class _Chosen(ast.NodeVisitor):
    """Numbers the names that a program gives to its variables, parameters and inner functions."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def _choose(self, name: str | None) -> None:
        if name is not None:
            self.names.setdefault(name, f"name{len(self.names)}")

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._choose(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        self._choose(node.arg)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self._choose(node.asname)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._choose(node.name)
        self.generic_visit(node)
