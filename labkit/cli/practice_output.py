"""How ``practice`` prints: the lines of a screen in colour, Markdown, code, a difference, a title.

``labkit.practice.screen`` decides what the lines are. Without a terminal each text is printed as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output
from labkit.support.i18n import _, language

if TYPE_CHECKING:
    from labkit.practice.exercise import Exercise
    from labkit.practice.screen import Line

STYLES = {"title": "bold", "good": "green", "bad": "red", "unsure": "yellow", "code": "dim", "quiet": "dim"}


def show_title(exercise: Exercise) -> None:
    """Print an exercise's number, title, day and minutes."""
    from labkit.practice import screen, texts

    title = texts.read(exercise, language()).title
    text = _("{number} · {title} · day {day} · {minutes} min")
    said = text.format(number=exercise.number, title=title, day=exercise.day, minutes=exercise.minutes)
    show([screen.Line(screen.TITLE, said)])


def shown(path: Path) -> str:
    """Return a path as the learner types it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def show(lines: Iterable[Line]) -> None:
    """Print the lines of a screen, in colour where the terminal has any."""
    from rich.console import Console
    from rich.text import Text

    from labkit.practice import screen

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        called = screen.Line(line.role, output.as_called(line.text))
        wrapped = screen.wrapped(called, console.width) if console.is_terminal else called.text
        text = Text(wrapped, style=STYLES.get(line.role, ""))
        if line.role == screen.LABELLED:
            text.stylize("bold", 0, screen.LABEL_WIDTH)
        console.print(text)


def show_markdown(text: str) -> None:
    """Print Markdown, laid out in a terminal."""
    from rich.console import Console
    from rich.markdown import Markdown

    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        output.line(text)


def show_code(code: str) -> None:
    """Print Python code, in colour in a terminal."""
    from rich.console import Console
    from rich.syntax import Syntax

    if sys.stdout.isatty():
        Console().print(Syntax(code, "python", background_color="default"))
    else:
        output.line(code.rstrip("\n"))


def show_diff(file: Path, solution: str) -> None:
    """Print how the learner's file differs from the solution; a missing file counts as empty."""
    import difflib

    mine = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    names = (_("your file"), _("our solution"))
    for line in difflib.unified_diff(mine.splitlines(), solution.splitlines(), *names, lineterm=""):
        output.line(line)
