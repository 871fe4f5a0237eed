"""``practice`` for teachers and authors: export the exercises, grade a class, verify an exercise."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.cli.commands import UsageError
from labkit.core.errors import N_
from labkit.support.i18n import _, language, translate_error, translated

if TYPE_CHECKING:
    from labkit.practice.session import Practice


def export(practice: Practice, options: argparse.Namespace) -> int:
    """Write every text and stub into a new folder. Raises UsageError if the folder is not empty."""
    from labkit.practice import texts
    from labkit.practice.workspace import solution_of, stub_of
    from labkit.support.atomic_files import atomic_write_new

    folder = Path(options.folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(N_("{folder} is not empty; export writes into a new folder"), folder=folder)
    for one in practice.exercises:
        text = texts.read(one, language())
        page = f"# {one.number} · {text.title}\n\n{text.task}\n"
        atomic_write_new(folder / f"{one.module}.md", page.encode())
        atomic_write_new(folder / f"{one.module}.py", stub_of(one).encode())
        if options.solutions:
            atomic_write_new(folder / f"{one.module}_solution.py", solution_of(one).encode())
    output.line(
        _("{exercises} exercises are in {folder}").format(exercises=len(practice.exercises), folder=folder)
    )
    output.next_steps(("practice grade FOLDER", _("check the hand-ins of a class again")))
    return 0


def grade(practice: Practice, options: argparse.Namespace) -> int:
    """Check the hand-ins of a class again; print what fails most and write the table."""
    from labkit.practice import grade as grading
    from labkit.practice import limits
    from labkit.practice.check import SIMULATED, STAGES
    from labkit.support.atomic_files import atomic_write

    exercises = (
        [practice.find(name) for name in options.exercise] if options.exercise else list(practice.exercises)
    )
    if (missing := limits.lacking()) is not None:
        output.complain(translate_error(missing))
    learners, files = grading.hand_ins(Path(options.folder).expanduser(), exercises)

    def report(one: grading.Grade) -> None:
        if one.verdict is not None:
            reason = "" if one.verdict.code else translated(one.verdict.happened, one.verdict.params)
            about = one.verdict.code or (f"({reason})" if reason else "")
            output.line(f"{one.learner}: {one.exercise.id}: {one.word} {about}".rstrip())

    stages = (SIMULATED,) if options.simulated else STAGES
    grades = grading.grade(learners, files, exercises, stages, report)
    table = Path(options.csv or "grades.csv")
    atomic_write(table, grading.as_csv(grades).encode())
    output.line()
    for name, code, failed, handed_in in grading.failure_rates(grades):
        text = _("{exercise}: {failed} of {handed_in} fail by {code}")
        output.line(text.format(exercise=name, failed=failed, handed_in=handed_in, code=code))
    for exercise, names in grading.identical(files):
        text = _("{exercise}: identical hand-ins of {names}")
        output.line(text.format(exercise=exercise.id, names=", ".join(names)))
    output.line(_("The table is in {file}").format(file=table))
    return 0


def verify(practice: Practice, options: argparse.Namespace) -> int:
    """Print for each exercise whether it is sound, and what is wrong with it."""
    from labkit.practice import verify as proof

    exercises = practice.exercises if options.exercise is None else (practice.find(options.exercise),)
    faults = 0
    for exercise in exercises:
        found = list(proof.verify(exercise))
        faults += len(found)
        output.line(f"{'✗' if found else '✓'} {exercise.number} · {exercise.id}")
        for fault in found:
            output.line(f"    {translate_error(fault)}")
    return 1 if faults else 0
