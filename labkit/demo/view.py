"""How a demo is shown: not at all, line by line, or (``terminal``) as a live display.

The demo calls a view for everything that happens, and the view decides what to show. A step before or after
the run begins with ``step``, is counted with ``advance`` and ends with ``step_done``. During the run,
``update`` is called many times a second, and ``tell`` with each sentence of the story.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from labkit.support.i18n import _

if TYPE_CHECKING:
    from labkit.demo.progress import Progress
    from labkit.demo.story import Line


class View:
    """The base of all views; by itself it shows nothing (``--json``). Use it with ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        return

    def title(self, text: str) -> None:
        """Show the title, once, at the beginning."""

    def step(self, text: str, total: int = 0) -> None:
        """Show that a step begins. ``total``: how much there is to do in it, 0 if that is not counted."""

    def advance(self, done: int) -> None:
        """Show how much of the step is done."""

    def step_done(self, text: str) -> None:
        """Show that the step is over, with its result."""

    def warn(self, text: str) -> None:
        """Warn of something that the user does not expect. Never silent: it goes to the standard error."""
        print(text, file=sys.stderr, flush=True)

    def tell(self, line: Line) -> None:
        """Show a sentence of the story."""

    def begin(self, progress: Progress) -> None:
        """Show that the run begins."""

    def update(self, progress: Progress) -> None:
        """Show how the run goes on."""

    def end(self, progress: Progress) -> None:
        """Show that the run is over."""


class PlainView(View):
    """A few lines of text, for a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def title(self, text: str) -> None:
        """Print the title and an empty line."""
        self._print(text)
        self._print("")

    def step_done(self, text: str) -> None:
        """Print the result of a step."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Print the warning among the other lines."""
        self._print(text)

    def tell(self, line: Line) -> None:
        """Print the sentence after its instant."""
        when = " " * 10 if line.t is None else _("{t:7.2f} s ").format(t=line.t)
        self._print(f"{when} {line.text}")

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
