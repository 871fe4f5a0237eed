"""The cell magic ``%%exercise ID``: saves the cell as the learner's file and checks it at once.

::

    %load_ext labkit.practice.notebook

    %%exercise least-busy
    def choose(task, workers, now): ...

File, record and verdict are those of ``python -m labkit practice``: a learner may change between notebook and
editor at any time. A file that was edited elsewhere is kept as a copy before a cell replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.practice import screen, texts
from labkit.practice.exercise import Exercise
from labkit.practice.screen import Line
from labkit.practice.session import Practice
from labkit.support.i18n import _, language
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

COLOURS = {"good": "#007a5e", "bad": "#b34700", "unsure": "#8a6d00", "quiet": "#666"}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; IPython calls it for ``%load_ext``."""
    register: Any = shell.register_magic_function  # its own types do not describe functions
    register(exercise, "cell", "exercise")
    register(hint, "line", "hint")


def practice() -> Practice:
    """Return the practice of this kernel's learner: LABKIT_WORK, or the kernel's own folder."""
    return Practice(Settings.from_environment().work or Path.cwd())


class Report:
    """Lines of a screen, as a cell shows them: HTML in a notebook, the same text elsewhere."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list(lines)

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for line in self.lines:
            colour = COLOURS.get(line.role)
            style = "margin: 0; white-space: pre-wrap; " + (f"color: {colour}; " if colour else "")
            if line.role in (screen.GOOD, screen.BAD, screen.UNSURE):
                style += "font-weight: bold; "
            rows.append(f'<pre style="{style}">{escape(line.text) or "&nbsp;"}</pre>')
        return f'<div role="status">{"".join(rows)}</div>'


def exercise(line: str, cell: str) -> None:
    """Save the cell as the file of the exercise that ``line`` names, check it and show the verdict."""
    from IPython.display import display

    mine = practice()
    chosen = mine.find(line.strip() or None)
    backup = mine.workspace.save(chosen, cell)
    verdict = mine.check(chosen)
    lines = screen.verdict_lines(chosen, verdict)
    if backup is not None:
        lines.append(Line(screen.QUIET, _("The file that was there is kept: {file}").format(file=backup)))
    lines.append(Line(screen.PLAIN, ""))
    lines.append(screen.progress_line(mine.exercises, mine.standings()))
    lines += screen.problem_lines(mine.progress.problem)
    if not verdict.passed:
        lines.append(Line(screen.QUIET, f"%hint {chosen.id}"))
    display(Report(lines))


def hint(line: str) -> None:
    """Show the next hint for the exercise that ``line`` names."""
    from IPython.display import Markdown, display

    mine = practice()
    level, text = mine.hint(mine.find(line.strip() or None))
    title = _("Hint {level} of {levels}").format(level=level, levels=texts.HINTS)
    display(Markdown(f"**{title}**\n\n{text}"))


def introduction(chosen: Exercise) -> Any:
    """Return title and task of an exercise as Markdown, for a cell of its own."""
    from IPython.display import Markdown

    text = texts.read(chosen, language())
    return Markdown(f"### {chosen.number} · {text.title}\n\n{text.task}")
