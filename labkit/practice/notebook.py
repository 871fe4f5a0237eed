"""Exercises in a notebook: ``%%exercise ID`` saves a cell as the learner's file and checks it at once.

::

    from labkit.practice.notebook import begin
    begin("en", day=3)                the language, and where one stands

    %%exercise least-busy             saves work/ex12_least_busy.py and shows the verdict
    def choose(task, workers, now): ...

    %hint least-busy                  the next hint; %hint least-busy 1 the first
    %check least-busy --seed 4        checks the saved file again, here with one seed
    %solution least-busy              after a pass; --yes: before it, too
    %practice 3                       where one stands on day 3

File, record and verdict are those of ``python -m labkit practice``: a learner may change between notebook and
editor at any time. A file that was edited elsewhere is kept as a copy before a cell replaces it. ``work/`` is
in LABKIT_WORK; else in the lab's folder if the notebook is one of the course's; else beside the notebook.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.core.errors import N_, InvalidInput, LabkitError
from labkit.practice import screen, texts
from labkit.practice.check import STAGES
from labkit.practice.exercise import Exercise
from labkit.practice.progress import Standing
from labkit.practice.screen import LABEL_WIDTH, Line
from labkit.practice.session import Practice
from labkit.practice.verdict import Kind, Verdict
from labkit.support.i18n import _, language, set_language, translate_error
from labkit.support.refusals import refusal
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).parents[2]
COLOURS = {screen.GOOD: "#007a5e", screen.BAD: "#b34700", screen.UNSURE: "#8a6d00", screen.QUIET: "#666"}
BOLD = (screen.TITLE, screen.GOOD, screen.BAD, screen.UNSURE)


def begin(lang: str, day: int | None = None) -> None:
    """Speak ``lang`` ("es" or "en") in this kernel, register the magics and show where the learner stands."""
    from IPython.core.getipython import get_ipython

    set_language(lang)
    shell = get_ipython()
    if shell is not None:
        load_ipython_extension(shell)
    overview("" if day is None else str(day))


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; IPython calls it for ``%load_ext``."""
    register: Any = shell.register_magic_function  # its own types do not describe functions
    register(exercise, "cell", "exercise")
    register(hint, "line", "hint")
    register(check, "line", "check")
    register(solution, "line", "solution")
    register(overview, "line", "practice")


def practice() -> Practice:
    """Return the practice of this kernel's learner; the module's head says where it is."""
    here = Path.cwd()
    home = ROOT if here.is_relative_to(ROOT / "notebooks") else here
    return Practice(Settings.from_environment().work or home)


class Report:
    """Lines of a screen, as a cell shows them: HTML in a notebook, the same text elsewhere."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list(lines)

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        blocks = "".join(_blocks(self.lines))
        return f'<div role="status" style="max-width: 100ch">{blocks}</div>'


def _blocks(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines as HTML. Those of a timeline stay in columns: together they scroll sideways."""
    for is_code, group in itertools.groupby(lines, lambda line: line.role == screen.CODE):
        if is_code:
            text = escape("\n".join(line.text for line in group))
            yield f'<pre style="margin: 0; font-size: 11px; white-space: pre; overflow-x: auto">{text}</pre>'
            continue
        for line in group:
            style = "margin: 0; white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
            if colour := COLOURS.get(line.role):
                style += f"; color: {colour}"
            if line.role in BOLD:
                style += "; font-weight: bold"
            if line.role == screen.LABELLED:  # what follows a label stands below its beginning
                style += f"; padding-left: {LABEL_WIDTH + 1}ch; text-indent: -{LABEL_WIDTH + 1}ch"
            yield f'<pre style="{style}">{escape(line.text) or "&nbsp;"}</pre>'


def _calm(magic: Callable[..., None]) -> Callable[..., None]:
    """Return ``magic`` with labkit's errors, and the notebook's stop button, as a sentence under the cell."""

    @functools.wraps(magic)
    def run(*arguments: str) -> None:
        try:
            magic(*arguments)
        except LabkitError as error:
            _show([Line(screen.BAD, _as_magics(translate_error(error)))])
        except OSError as error:  # of the learner's folder: no room, no permission
            known = refusal(error)
            if known is None:
                raise
            _show([Line(screen.BAD, translate_error(known))])
        except KeyboardInterrupt:
            _show([Line(screen.UNSURE, _("Interrupted: there is no verdict."))])

    return run


def _as_magics(text: str) -> str:
    """Return a sentence with the magics of a notebook in place of the commands of a terminal."""
    listed = text.replace("python -m labkit practice list", "%practice")
    return re.sub(r"python -m labkit practice start\b", "%%exercise", listed)


# --- the magics ---------------------------------------------------------------------------------------------


@_calm
def exercise(line: str, cell: str) -> None:
    """Save the cell as the file of the exercise that ``line`` names, check it and show the verdict."""
    mine = practice()
    if not line.strip():
        raise InvalidInput(N_("%%exercise needs the id of an exercise; %practice lists them"))
    chosen = mine.find(line.strip())
    backup = mine.workspace.save(chosen, cell)
    verdict = mine.check(chosen)
    kept = []
    if backup is not None:
        kept = [Line(screen.QUIET, _("The file that was there is kept: {file}").format(file=backup))]
    _show(_verdict_lines(mine, chosen, verdict, kept))


@_calm
def check(line: str) -> None:
    """Check the saved file again: ``ID``, or ``ID --seed N`` with one seed of the simulator only."""
    mine = practice()
    name, _option, seed = line.partition("--seed")
    chosen = mine.find(name.strip() or None)
    if seed.strip():
        only = _number(seed, N_("{text!r} is no seed; a seed is a number, such as 4"))
        verdict = mine.check(chosen, (STAGES[0],), range(only, only + 1))
    else:
        verdict = mine.check(chosen)
    _show(_verdict_lines(mine, chosen, verdict, []))


@_calm
def hint(line: str) -> None:
    """Show the next hint for the exercise that ``line`` names, or the one of the given level: ``ID 2``."""
    from IPython.display import Markdown, display

    mine = practice()
    name, _space, wanted = line.strip().partition(" ")
    level = _number(wanted, N_("{text!r} is no hint; there are 1, 2 and 3")) if wanted.strip() else None
    if level is not None and level not in range(1, texts.HINTS + 1):
        raise InvalidInput(N_("{text!r} is no hint; there are 1, 2 and 3"), text=wanted.strip())
    level, text = mine.hint(mine.find(name or None), level)
    title = _("Hint {level} of {levels}").format(level=level, levels=texts.HINTS)
    display(Markdown(f"**{title}**\n\n{text}"))


@_calm
def solution(line: str) -> None:
    """Show the solution of the exercise that ``line`` names; before it is passed only with ``--yes``."""
    from IPython.display import Markdown, display

    mine = practice()
    words = line.split()
    names = [word for word in words if word != "--yes"]
    chosen = mine.find(names[0] if names else None)
    if "--yes" not in words and not mine.standings().get(chosen.id, Standing()).passed:
        raise InvalidInput(
            N_("{exercise} is not passed yet; %solution {exercise} --yes shows the solution all the same"),
            exercise=chosen.id,
        )
    display(Markdown(f"```python\n{mine.solution(chosen)}```"))


@_calm
def overview(line: str) -> None:
    """Show where the learner stands, on all days or on the one that ``line`` names, and the next step."""
    mine = practice()
    day = _number(line, N_("{text!r} is no day; there are 1 to 4")) if line.strip() else None
    exercises = [one for one in mine.exercises if day in (None, one.day)]
    if not exercises:
        raise InvalidInput(N_("{text!r} is no day; there are 1 to 4"), text=line.strip())
    standings = mine.standings()
    lines = [*screen.list_lines(exercises, standings), Line(screen.PLAIN, "")]
    lines.append(screen.progress_line(exercises, standings))
    lines.append(_next_line(exercises, standings))
    _show(lines)


# --- their words --------------------------------------------------------------------------------------------


def _verdict_lines(mine: Practice, chosen: Exercise, verdict: Verdict, notes: list[Line]) -> list[Line]:
    """Return the verdict as in the terminal, how far the learner is with this day, and the next step."""
    of_day = [one for one in mine.exercises if one.day == chosen.day]
    standings = mine.standings()
    lines = screen.verdict_lines(chosen, verdict, "%check {exercise} --seed {seed}")
    lines += [Line(screen.PLAIN, ""), *notes, screen.progress_line(of_day, standings)]
    lines += screen.problem_lines(mine.progress.problem)
    if verdict.passed:
        place = of_day.index(chosen) + 1
        lines.append(_next_line([*of_day[place:], *of_day[:place]], standings))
        return lines
    if verdict.kind is Kind.INCONCLUSIVE:
        lines.append(Line(screen.QUIET, _("Next: run the cell again.")))
        return lines
    seen = min(texts.HINTS, standings.get(chosen.id, Standing()).hints + 1)
    lines.append(Line(screen.QUIET, _("Next: change the cell and run it again.")))
    stuck = _("Stuck? %hint {exercise} in a cell of its own shows hint {n}.")
    lines.append(Line(screen.QUIET, stuck.format(exercise=chosen.id, n=seen)))
    return lines


def _next_line(exercises: list[Exercise], standings: dict[str, Standing]) -> Line:
    """Return the first of these exercises that is not passed, as the next step."""
    following = screen.next_exercise(exercises, standings)
    if following is None:
        return Line(screen.QUIET, _("Every exercise here is passed."))
    text = _("Next: {number} · {title} (%%exercise {exercise})")
    title = texts.read(following, language()).title
    return Line(screen.QUIET, text.format(number=following.number, title=title, exercise=following.id))


def _number(text: str, complaint: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(complaint, text=text.strip()) from None


def _show(lines: Iterable[Line]) -> None:
    from IPython.display import display

    display(Report(lines))
