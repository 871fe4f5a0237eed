"""A learner's piece inside the real core: asked during a simulated run, judged when the run is over.

The core must go on when the learner's function fails, and some of its parts catch exceptions themselves. So
the first failure is kept here, the piece is not asked again, and ``raise_failure`` raises it after the run.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from typing import Any, Final

from labkit.core.errors import N_, LabkitError
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding
from labkit.simulation import Run
from labkit.simulation.timeline import excerpt
from labkit.support.i18n import _

WIDTH: Final = 100
"""Columns of a run outside of a terminal: in a notebook, or in a file."""


def shown_run(run: Run) -> tuple[str, ...]:
    """Return a run as lines for a finding, no wider than the terminal."""
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if sys.stdout.isatty() else WIDTH
    return tuple(excerpt(run, width, _))


class Piece:
    """One run's questions to the learner's module."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.failure: LabkitError | None = None
        self._is_of_core = False
        """Whether the failure is what the core saw, and not an answer that Python could not give."""

    def ask(self, function: str, *arguments: Any, otherwise: Any) -> Any:
        """Return what the learner's ``function`` returns; ``otherwise`` once something has failed."""
        return self._ask(self.learner.call, function, arguments, otherwise)

    def play(self, function: str, *arguments: Any, otherwise: Any, known_as: str = "") -> Any:
        """Return what play.py's ``function`` returns; ``otherwise`` once something has failed.

        ``known_as``: as for `Learner.play`.
        """
        return self._ask(partial(self.learner.play, known_as=known_as), function, arguments, otherwise)

    def _ask(self, how: Any, function: str, arguments: tuple[Any, ...], otherwise: Any) -> Any:
        if self.failure is not None:
            return otherwise
        try:
            return how(function, *arguments)
        except LabkitError as error:
            self.failure = error
            return otherwise

    def truth(self, function: str, *arguments: Any, otherwise: bool) -> bool:
        """Return a learner's answer that must be True or False."""
        answer = self.ask(function, *arguments, otherwise=otherwise)
        if isinstance(answer, bool):
            return answer
        self.find(
            Finding(
                "wrong-type",
                N_("{function} returned {answer!r}"),
                expected=N_("{function} returns True or False"),
                advice=N_("A comparison is True or False; a missing return is None."),
                function=function,
                answer=answer,
            )
        )
        return otherwise

    def find(self, finding: Finding) -> None:
        """Keep a finding, unless there is one already."""
        if self.failure is None:
            self.failure = finding
            self._is_of_core = True

    def raise_failure(self, run: Run | None = None) -> None:
        """Raise the first failure, with the run's timeline if the core, not Python, shows it."""
        if run is not None and self._is_of_core and isinstance(self.failure, Finding):
            self.failure.timeline = shown_run(run)
        if self.failure is not None:
            raise self.failure
