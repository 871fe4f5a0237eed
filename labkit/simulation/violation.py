"""A broken promise of a simulated run.

The first one ends the run: what comes after it is not worth simulating.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn


class Violation(NamedTuple):
    """A broken promise: which one, when (virtual seconds), and what was wrong."""

    invariant: str
    at: float
    why: str


class PromiseBroken(Exception):
    """Ends the run at the first violation."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


def violated(invariant: str, at: float, why: str) -> NoReturn:
    """Report that an invariant is broken at this virtual instant; this ends the run."""
    raise PromiseBroken(Violation(invariant, at, why))
