"""``practice watch``: checks the learner's file after every save, and takes single keys in a terminal.

The file is looked at several times a second. That also works on network folders and in containers, where no
file events arrive. Without a terminal the same lines are printed one after the other, and there are no keys.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cli import output, practice_output
from labkit.cli.keyboard import Keys
from labkit.core.errors import InvalidInput
from labkit.practice import screen, texts
from labkit.practice.progress import Standing
from labkit.support.i18n import _, language, translate_error

if TYPE_CHECKING:
    from labkit.practice.exercise import Exercise
    from labkit.practice.session import Practice

LOOK_EVERY_S = 0.2
CLEAR = "\x1b[2J\x1b[H"


def watch(practice: Practice, exercise: Exercise) -> int:
    """Check after every save until the learner quits; return the exit code."""
    practice.workspace.start(exercise)
    watcher = _Watcher(practice, exercise)
    if not sys.stdin.isatty():
        return watcher.run(lambda: _wait(LOOK_EVERY_S))
    with Keys() as keys:
        return watcher.run(lambda: keys.pressed(LOOK_EVERY_S))


def _wait(seconds: float) -> str:
    time.sleep(seconds)
    return ""


class _Watcher:
    """One ``watch``: the exercise on the screen, and what the file was when it was last checked."""

    def __init__(self, practice: Practice, exercise: Exercise) -> None:
        self._practice = practice
        self._exercise = exercise
        self._seen: tuple[int, int, int] | None = None

    def run(self, next_key: Callable[[], str]) -> int:
        """Return 0 when the learner quits."""
        while True:
            state = _state(self._practice.workspace.file(self._exercise))
            if state != self._seen and state is not None:
                self._seen = state
                self._check()
            match next_key().lower()[:1]:
                case "q" | "\x04":
                    return 0
                case "h":
                    level, text = self._practice.hint(self._exercise)
                    output.line(_("Hint {level} of {levels}").format(level=level, levels=texts.HINTS))
                    practice_output.show_markdown(text)
                    self._show_keys()
                case "l":
                    practice_output.show(
                        screen.list_lines(self._practice.exercises, self._practice.standings())
                    )
                    self._show_keys()
                case "s":
                    self._show_solutions_command()
                    self._show_keys()
                case "t":
                    practice_output.show_markdown(texts.read(self._exercise, language()).task)
                    self._show_keys()
                case "n":
                    self._go_on()

    def _check(self) -> None:
        if sys.stdout.isatty():
            sys.stdout.write(CLEAR)
        file = practice_output.shown(self._practice.workspace.file(self._exercise))
        output.line(_("checking {file} …").format(file=file))
        try:
            verdict = self._practice.check(self._exercise)
        except InvalidInput as error:  # the file has just gone; an editor may be about to replace it
            self._seen = None
            practice_output.show([screen.Line(screen.UNSURE, translate_error(error))])
            return
        practice_output.show(screen.verdict_lines(self._exercise, verdict))
        output.line()
        standings = self._practice.standings()
        practice_output.show([screen.progress_line(self._practice.exercises, standings)])
        if verdict.passed and (following := self._following()):
            title = texts.read(following, language()).title
            next_ = _("n goes on to {number} · {title}").format(number=following.number, title=title)
            practice_output.show([screen.Line(screen.GOOD, next_)])
        practice_output.show(screen.problem_lines(self._practice.progress.problem))
        self._show_keys()

    def _show_solutions_command(self) -> None:
        """Show how to see the solution; before a pass it takes ``--yes``."""
        passed = self._practice.standings().get(self._exercise.id, Standing()).passed
        output.line(f"python -m labkit practice solution {self._exercise.id}{'' if passed else ' --yes'}")

    def _following(self) -> Exercise | None:
        """Return the next exercise that is not passed, other than this one."""
        following = screen.next_exercise(self._practice.exercises, self._practice.standings())
        return None if following == self._exercise else following

    def _show_keys(self) -> None:
        if sys.stdin.isatty():
            keys = _("save the file to check again · h hint · t text · l list · s solution · n next · q quit")
            keys = re.sub(r"· (\w) ", rf"· \1{screen.TOGETHER}", keys)  # a key stays with its word
            practice_output.show([screen.Line(screen.QUIET, keys)])
        sys.stdout.flush()

    def _go_on(self) -> None:
        """Turn to the next exercise that is not passed."""
        following = self._following()
        if following is None:
            practice_output.show([screen.progress_line(self._practice.exercises, self._practice.standings())])
            return
        self._exercise = following
        self._practice.workspace.start(following)
        self._seen = _state(self._practice.workspace.file(following))
        text = texts.read(following, language())
        output.line(f"{following.number} · {text.title}")
        practice_output.show_markdown(text.task)
        output.line(_("Your file: {file}").format(file=self._practice.workspace.file(following)))
        self._show_keys()


def _state(file: Path) -> tuple[int, int, int] | None:
    """Return what changes with each save; None while there is no file (some editors replace it)."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
