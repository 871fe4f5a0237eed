"""How a demo is shown: not at all, line by line, or (``live``) as a picture in the terminal.

A view is told what happens and decides what to show of it. The steps before and after the run are announced
with ``step``, counted with ``advance`` and closed with ``step_done``; during the run ``update`` comes many
times a second, and ``tell`` with each sentence of the story.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from labkit.support.i18n import _

if TYPE_CHECKING:
    from labkit.demo.progress import Progress
    from labkit.demo.story import Line


class View:
    """Shows nothing (``--json``), and is what other views are made of. Use it with ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        return

    def title(self, text: str) -> None:
        """What this is about, once, at the beginning."""

    def step(self, text: str, total: int = 0) -> None:
        """A step begins; ``total`` is how much there is to do in it, 0 if that is not counted."""

    def advance(self, done: int) -> None:
        """So much of the step is done."""

    def step_done(self, text: str) -> None:
        """The step is over, and this is what came of it."""

    def warn(self, text: str) -> None:
        """Something is not as the user will have expected. Never silent: it goes to the standard error."""
        print(text, file=sys.stderr, flush=True)

    def tell(self, line: Line) -> None:
        """Something happened."""

    def begin(self, progress: Progress) -> None:
        """The run begins."""

    def update(self, progress: Progress) -> None:
        """The run goes on."""

    def end(self, progress: Progress) -> None:
        """The run is over."""


class PlainView(View):
    """Sparse lines of text, for whoever reads a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def title(self, text: str) -> None:
        """Print the title and an empty line."""
        self._print(text)
        self._print("")

    def step_done(self, text: str) -> None:
        """Print what came of a step."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Print the warning among the other lines."""
        self._print(text)

    def tell(self, line: Line) -> None:
        """Print the sentence, its instant before it."""
        when = " " * 10 if line.t is None else _("{t:7.2f} s ").format(t=line.t)
        self._print(f"{when} {line.text}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def choose(json: bool) -> View:
    """Return the view for this standard output."""
    if json:
        return View()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from labkit.demo.live import LiveView

        return LiveView()
    return PlainView(sys.stdout)
