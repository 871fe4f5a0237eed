"""What a learner reads, as lines: verdicts, the list of exercises, progress. Terminal and notebook share it.

A line is a role and a text. The terminal and the notebook only choose a colour for the role; the words are
made here, in the reader's language.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from labkit.core.errors import LabkitError
from labkit.practice.exercise import Exercise
from labkit.practice.progress import Standing
from labkit.practice.texts import read
from labkit.practice.verdict import Kind, Verdict
from labkit.support.i18n import _, language, ngettext, translate_error, translated

TITLE, GOOD, BAD, UNSURE, LABELLED, PLAIN, CODE, QUIET = (
    "title", "good", "bad", "unsure", "labelled", "plain", "code", "quiet",
)  # fmt: skip
MARKS = {Kind.PASS: "✓", Kind.FAIL: "✗", Kind.INCONCLUSIVE: "?"}
ROLES = {Kind.PASS: GOOD, Kind.FAIL: BAD, Kind.INCONCLUSIVE: UNSURE}
LABEL_WIDTH = 10
OUTPUT_LINES = 6
TIMELINE_LINES = 24
BAR = 20
TOGETHER = "\u00a0"
"""A space at which no line breaks."""
REPLAY = "python -m labkit practice check {exercise} --seed {seed}"


class Line(NamedTuple):
    """One line of a screen. A LABELLED one begins with a label of ``LABEL_WIDTH`` columns."""

    role: str
    text: str


def verdict_lines(exercise: Exercise, verdict: Verdict, replay: str = REPLAY) -> list[Line]:
    """Return a verdict: what it is, what was expected, what happened and where, one thing to try.

    ``replay`` is the command, as the reader types it, that repeats a simulated run.
    """
    words = {
        Kind.PASS: _("passed"),
        Kind.FAIL: _("not yet"),
        Kind.INCONCLUSIVE: _("inconclusive"),
    }
    title = (
        f"{MARKS[verdict.kind]} {exercise.number} · {read(exercise, language()).title}: {words[verdict.kind]}"
    )
    lines = [Line(ROLES[verdict.kind], title)]
    if verdict.passed:
        return lines + list(_labelled(_("note"), verdict.happened, verdict))
    lines += _labelled(_("expected"), verdict.expected, verdict)
    lines += _labelled(_("happened"), verdict.happened, verdict)
    if when := _when(verdict, replay):
        lines.append(_label(_("when"), when))
    lines += [
        _label(_("where") if not number else "", _place(text))
        for number, text in enumerate(verdict.learner_lines)
    ]
    lines += _labelled(_("try"), verdict.advice, verdict)
    printed = [text for text in verdict.output.splitlines() if text.strip()][-OUTPUT_LINES:]
    lines += [_label(_("printed") if not number else "", text) for number, text in enumerate(printed)]
    if verdict.timeline:
        lines.append(Line(PLAIN, ""))
        lines += [Line(CODE, text) for text in verdict.timeline[:TIMELINE_LINES]]
    return lines


def _place(text: str) -> str:
    """Return a line of the learner's file in the reader's language."""
    return re.sub(
        r"^(\S+\.py), line (\d+)",
        lambda found: _("{file}, line {number}").format(file=found[1], number=found[2]),
        text,
    )


def _when(verdict: Verdict, replay: str) -> str:
    if verdict.seed is not None:
        command = replay.format(exercise=verdict.exercise, seed=verdict.seed)
        return _("with seed {seed}; {command} repeats it").format(seed=verdict.seed, command=command)
    return _("on real processes") if verdict.stage == "real" else ""


def _labelled(label: str, template: str, verdict: Verdict) -> Iterator[Line]:
    if template:
        yield _label(label, translated(template, verdict.params))


def _label(label: str, text: str) -> Line:
    return Line(LABELLED, f"{label:<{LABEL_WIDTH}} {text}")


def wrapped(line: Line, width: int) -> str:
    """Return the text of a line, broken between words; what follows a label stands below its beginning."""
    if line.role == CODE:
        return line.text
    inside = " " * 6 if line.text.startswith("  ") else ""  # below an entry of a list
    indent = " " * (LABEL_WIDTH + 1) if line.role == LABELLED else inside
    text = textwrap.fill(
        line.text, width, subsequent_indent=indent, break_long_words=False, replace_whitespace=False
    )
    return text.replace(TOGETHER, " ")


def list_lines(exercises: Sequence[Exercise], standings: Mapping[str, Standing]) -> list[Line]:
    """Return a table of the exercises: mark, number, id, minutes, title, by day."""
    lines: list[Line] = []
    width = max((len(exercise.id) for exercise in exercises), default=0)
    day = 0
    for exercise in sorted(exercises, key=lambda one: (one.day, one.number)):
        if exercise.day != day:
            day = exercise.day
            lines.append(Line(TITLE, _("Day {day}").format(day=day)))
        standing = standings.get(exercise.id, Standing())
        mark = MARKS[Kind.PASS] if standing.passed else "·" if standing.attempts else " "
        minutes = _("{n} min").format(n=exercise.minutes)
        title = read(exercise, language()).title
        text = f"  {mark} {exercise.number:>2}  {exercise.id:<{width}}  {minutes:>6}  {title}"
        lines.append(Line(GOOD if standing.passed else PLAIN, text))
    return lines


def progress_line(exercises: Sequence[Exercise], standings: Mapping[str, Standing]) -> Line:
    """Return a bar: how many exercises are passed."""
    passed = sum(standings.get(exercise.id, Standing()).passed for exercise in exercises)
    total = len(exercises)
    width = max(BAR, total)  # a pass fills at least one box
    filled = width * passed // total if total else 0
    text = ngettext("{passed} of {total} exercise", "{passed} of {total} exercises", total)
    bar = "■" * filled + "□" * (width - filled)
    return Line(QUIET, f"{bar} {text.format(passed=passed, total=total)}")


def problem_lines(problem: LabkitError | None) -> list[Line]:
    """Return why the record could not be written; nothing if it was."""
    if problem is None:
        return []
    text = _("Your progress could not be noted. {problem}").format(problem=translate_error(problem))
    return [Line(UNSURE, text)]


def next_exercise(exercises: Sequence[Exercise], standings: Mapping[str, Standing]) -> Exercise | None:
    """Return the first exercise that is not passed; None if all are."""
    return next((one for one in exercises if not standings.get(one.id, Standing()).passed), None)
