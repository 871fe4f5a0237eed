"""``practice``: exercises that check themselves; alone it shows how far the learner is, and the next step.

Every screen ends with the next command. ``labkit.practice`` does the work. This module parses the command
line and has what learners do; its neighbours print (`practice_output`), watch a file (`practice_watch`),
run the league (`practice_league`) and serve teachers and authors (`practice_teacher`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output, practice_league, practice_output, practice_teacher
from labkit.cli.cluster import json_option
from labkit.cli.commands import UsageError
from labkit.cli.parser import Parser
from labkit.core.errors import N_
from labkit.support.i18n import _, language
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.practice.exercise import Exercise
    from labkit.practice.session import Practice

DAYS = (1, 2, 3, 4)
LEVELS = (1, 2, 3)
NO_STAGE = {
    "simulated": N_("{exercise} has no simulated runs; check it without --seed"),
    "real": N_("{exercise} has no stage on real processes; check it without --real"),
}
EXERCISE_HELP = N_("id or number; without one, the first that is not passed")


def configure(_name: str, parser: Parser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar=_("ACTION"))

    def action(name: str, help_: str, run: Callable[[Practice, argparse.Namespace], int]) -> Parser:
        sub: Parser = actions.add_parser(name, help=help_, description=help_)
        sub.set_defaults(do=run)
        return sub

    def exercise(sub: Parser) -> None:
        sub.add_argument("exercise", nargs="?", metavar="ID", help=_(EXERCISE_HELP))

    list_ = action("list", _("show all exercises"), _list)
    list_.add_argument("--day", type=int, choices=DAYS, help=_("only this day's"))
    json_option(list_)
    exercise(action("start", _("write an exercise's file into work/ and show its text"), _start))
    check = action("check", _("check your file"), _check)
    exercise(check)
    check.add_argument("--all", action="store_true", help=_("check every file in work/"))
    check.add_argument("--seed", type=int, metavar="N", help=_("only this simulated run, with its timeline"))
    check.add_argument("--real", action="store_true", help=_("only the stage on real processes"))
    json_option(check)
    exercise(action("watch", _("check after every save, until you quit"), _watch))
    hint = action("hint", _("show the next hint, or the one with this number"), _hint)
    exercise(hint)
    hint.add_argument("number", nargs="?", type=int, choices=LEVELS, metavar="1-3", help=_("this hint"))
    hint.add_argument("--level", type=int, choices=LEVELS, help=_("this hint"))
    solution = action("solution", _("show the solution, after a pass or with --yes"), _solution)
    exercise(solution)
    solution.add_argument("--diff", action="store_true", help=_("show how it differs from your file"))
    solution.add_argument("--yes", action="store_true", help=_("also before you have passed"))
    exercise(action("reset", _("begin an exercise anew; your file is kept as a copy"), _reset))
    json_option(action("progress", _("show what you have passed"), _progress))
    export = action(
        "export", _("for teachers: write all texts and stubs into a folder"), practice_teacher.export
    )
    export.add_argument("folder", metavar=_("FOLDER"), help=_("a new or an empty folder"))
    export.add_argument("--solutions", action="store_true", help=_("the solutions, too"))
    grade = action("grade", _("for teachers: check the hand-ins of a class again"), practice_teacher.grade)
    grade.add_argument("folder", metavar=_("FOLDER"), help=_("a folder with one folder per learner"))
    grade.add_argument("--exercise", metavar="ID", action="append", help=_("only this one; may be repeated"))
    grade.add_argument("--csv", metavar=_("FILE"), help=_("write the table as CSV (default: grades.csv)"))
    grade.add_argument("--simulated", action="store_true", help=_("only the simulated stage, which is quick"))
    league = action(
        "league", _("let policies compete: labkit's own, yours, your classmates'"), practice_league.league
    )
    league.add_argument("--chart", metavar=_("FILE"), help=_("draw it into this .png or .svg file"))
    league.add_argument("files", nargs="*", metavar=_("FILE"), help=_("files with a function choose"))
    json_option(league)
    verify = action("verify", _("for authors: prove that an exercise is sound"), practice_teacher.verify)
    verify.add_argument("exercise", nargs="?", metavar="ID", help=_("id or number; without one, all of them"))
    parser.set_defaults(do=_overview)
    parser.examples("practice", "practice start", "practice watch", "practice hint")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do the action and return the exit code: 0 passed or done, 1 not passed, 3 inconclusive."""
    from labkit.practice.session import Practice

    try:
        practice = Practice(settings.work or Path.cwd())
    except FileNotFoundError:
        raise UsageError(N_("the folder in which this command runs is gone; go to another one")) from None
    code: int = options.do(practice, options)
    if practice.progress.problem is not None:
        from labkit.practice import screen

        for line in screen.problem_lines(practice.progress.problem):
            output.complain(line.text)
    return code


# --- the actions --------------------------------------------------------------------------------------------


def _overview(practice: Practice, _options: argparse.Namespace) -> int:
    from labkit.practice import screen

    standings = practice.standings()
    text = _(
        "Exercises that check themselves: you edit a file in work/, labkit runs it and judges the result."
    )
    practice_output.show([screen.Line(screen.PLAIN, text)])
    output.line()
    practice_output.show([screen.progress_line(practice.exercises, standings)])
    exercise = screen.next_exercise(practice.exercises, standings)
    if exercise is None:
        output.next_steps(("practice list", _("every exercise is passed")))
        return 0
    output.line()
    practice_output.show_title(exercise)
    if practice.workspace.file(exercise).exists():
        output.next_steps(
            (f"practice watch {exercise.id}", _("check after every save")),
            (f"practice hint {exercise.id}", _("if you are stuck")),
        )
    else:
        output.next_steps((f"practice start {exercise.id}", _("write its file into work/ and show the text")))
    return 0


def _list(practice: Practice, options: argparse.Namespace) -> int:
    from labkit.practice import screen

    exercises = [one for one in practice.exercises if options.day in (None, one.day)]
    standings = practice.standings()
    if options.json:
        output.as_json([_as_json(one, practice) for one in exercises])
        return 0
    practice_output.show(screen.list_lines(exercises, standings))
    output.line()
    practice_output.show([screen.progress_line(exercises, standings)])
    if exercise := screen.next_exercise(exercises, standings):
        output.next_steps((f"practice start {exercise.id}", _("write its file into work/ and show the text")))
    return 0


def _start(practice: Practice, options: argparse.Namespace) -> int:
    from labkit.practice import texts

    exercise = practice.find(options.exercise)
    is_new = practice.workspace.start(exercise)
    practice_output.show_title(exercise)
    output.line()
    practice_output.show_markdown(texts.read(exercise, language()).task)
    output.line()
    file = practice_output.shown(practice.workspace.file(exercise))
    output.line(
        (_("Your file: {file}") if is_new else _("Your file, as you left it: {file}")).format(file=file)
    )
    output.next_steps(
        (f"practice watch {exercise.id}", _("check after every save")),
        (f"practice check {exercise.id}", _("check once")),
        (f"practice hint {exercise.id}", _("if you are stuck")),
    )
    return 0


def _check(practice: Practice, options: argparse.Namespace) -> int:
    from labkit.practice.check import REAL, SIMULATED, STAGES, has_stage

    stages = (REAL,) if options.real else (SIMULATED,) if options.seed is not None else STAGES
    seeds = None if options.seed is None else range(options.seed, options.seed + 1)
    if options.all:
        exercises = [one for one in practice.exercises if practice.workspace.file(one).exists()]
        if not exercises:
            raise UsageError(
                N_("work/ holds no exercise yet; python -m labkit practice start writes the first")
            )
    else:
        exercises = [practice.find(options.exercise)]
    if len(stages) == 1:
        having = [one for one in exercises if has_stage(one, stages[0])]
        if not having:
            raise UsageError(NO_STAGE[stages[0]], exercise=exercises[0].id)
        exercises = having
    verdicts = [(one, practice.check(one, stages, seeds)) for one in exercises]
    if options.json:
        output.as_json([verdict.as_json() for _one, verdict in verdicts])
    else:
        from labkit.practice import screen

        for one, verdict in verdicts:
            practice_output.show(screen.verdict_lines(one, verdict))
        is_whole = stages == STAGES and seeds is None
        _show_next(practice, verdicts[-1][0], verdicts[-1][1].passed and is_whole)
    if all(verdict.passed for _one, verdict in verdicts):
        return 0
    return 1 if any(verdict.kind == "fail" for _one, verdict in verdicts) else 3


def _watch(practice: Practice, options: argparse.Namespace) -> int:
    from labkit.cli.practice_watch import watch

    return watch(practice, practice.find(options.exercise))


def _hint(practice: Practice, options: argparse.Namespace) -> int:
    wanted, number = options.exercise, options.number or options.level
    if number is None and wanted in map(str, LEVELS):  # "hint 2": the present exercise's second hint
        number = int(options.exercise)
        wanted = None
    exercise = practice.find(wanted)
    practice_output.show_title(exercise)
    level, text = practice.hint(exercise, number)
    output.line(_("Hint {level} of {levels}").format(level=level, levels=3))
    practice_output.show_markdown(text)
    if level < 3:
        output.next_steps(
            (f"practice check {exercise.id}", _("check your file")),
            (f"practice hint {exercise.id}", _("the next hint")),
        )
    else:
        output.next_steps(
            (f"practice check {exercise.id}", _("check your file")),
            (f"practice solution {exercise.id} --yes", _("the solution")),
        )
    return 0


def _solution(practice: Practice, options: argparse.Namespace) -> int:
    from labkit.practice.progress import Standing

    exercise = practice.find(options.exercise)
    if not (practice.standings().get(exercise.id, Standing()).passed or options.yes):
        raise UsageError(
            N_("{exercise} is not passed yet; --yes shows the solution all the same"),
            exercise=exercise.id,
        )
    solution = practice.solution(exercise)
    if options.diff:
        practice_output.show_diff(practice.workspace.file(exercise), solution)
    else:
        practice_output.show_code(solution)
    output.next_steps(
        (f"practice check {exercise.id}", _("check your file")),
        ("practice list", _("show all exercises")),
    )
    return 0


def _reset(practice: Practice, options: argparse.Namespace) -> int:
    exercise = practice.find(options.exercise)
    backup = practice.workspace.reset(exercise)
    practice.progress.reset(exercise)
    output.line(
        _("Your file is new. The former one is kept: {file}").format(file=practice_output.shown(backup))
    )
    output.next_steps((f"practice watch {exercise.id}", _("check after every save")))
    return 0


def _progress(practice: Practice, options: argparse.Namespace) -> int:
    if options.json:
        output.as_json([_as_json(one, practice) for one in practice.exercises])
        return 0
    return _list(practice, argparse.Namespace(day=None, json=False))


def _show_next(practice: Practice, exercise: Exercise, passed: bool) -> None:
    from labkit.practice import screen

    output.line()
    standings = practice.standings()
    practice_output.show([screen.progress_line(practice.exercises, standings)])
    if not passed:
        output.next_steps(
            (f"practice check {exercise.id}", _("check again")),
            (f"practice hint {exercise.id}", _("if you are stuck")),
        )
    elif following := screen.next_exercise(practice.exercises, standings):
        output.next_steps(
            (f"practice start {following.id}", _("the next exercise that is not passed")),
            (f"practice solution {exercise.id} --diff", _("compare with our solution")),
        )
    else:
        output.next_steps(("practice list", _("every exercise is passed")))


def _as_json(exercise: Exercise, practice: Practice) -> dict[str, object]:
    from labkit.practice import texts
    from labkit.practice.progress import Standing

    standing = practice.standings().get(exercise.id, Standing())
    return {
        "id": exercise.id,
        "number": exercise.number,
        "day": exercise.day,
        "minutes": exercise.minutes,
        "title": texts.read(exercise, language()).title,
        "file": str(practice.workspace.file(exercise)),
        "passed": standing.passed,
        "attempts": standing.attempts,
        "hints": standing.hints,
        "saw_solution": standing.saw_solution,
        "last": standing.last,
    }
