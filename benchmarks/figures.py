"""What was measured, how far it spreads, and what that says about a target.

A figure is one value per round. It is told as its median with its lowest and highest value, never as one
number: a machine that does something else meanwhile shows in the spread, not in the verdict. So there are
three verdicts: *pass* if every round meets the target, *miss* if none does, *inconclusive* if the rounds
disagree. Nothing here measures, prints or knows a clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from labkit.core.errors import N_, LabkitError

PASS, MISS, INCONCLUSIVE = N_("pass"), N_("miss"), N_("inconclusive")

TIMES = "x"
"""The unit of a ratio."""


class BenchFailed(LabkitError):
    """A measurement could not be made; nothing about speed follows from it."""


class Spread(NamedTuple):
    """The median of some values, the lowest and the highest."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Target:
    """A bound that a figure has to keep: at least ``limit``, or with ``at_most`` at most."""

    limit: float
    at_most: bool = False
    goal: float | None = None
    """What we should like to see beyond it; no verdict depends on it."""

    def verdict(self, values: Sequence[float]) -> str:
        """Return PASS, MISS or INCONCLUSIVE: do all the values keep the bound, none, or some?"""
        kept = [value <= self.limit if self.at_most else value >= self.limit for value in values]
        if all(kept):
            return PASS
        return INCONCLUSIVE if any(kept) else MISS


@dataclass(frozen=True)
class Figure:
    """One thing that was measured, a value per round."""

    name: str
    """For programs: ``map.ratio``."""
    label: str
    """For people, in their language."""
    values: Sequence[float]
    unit: str
    target: Target | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise BenchFailed(N_("{name} has no value: nothing was measured"), name=self.name)

    @property
    def spread(self) -> Spread:
        return Spread(statistics.median(self.values), min(self.values), max(self.values))

    @property
    def verdict(self) -> str | None:
        """PASS, MISS or INCONCLUSIVE; None for a figure without a target."""
        return None if self.target is None else self.target.verdict(self.values)


@dataclass(frozen=True)
class Section:
    """What one measurement has to say."""

    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    """How it was measured, for people, in their language."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours / theirs, round by round: what slowed a whole round down cancels out."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def rates(count: int, seconds: Sequence[float]) -> list[float]:
    """Return how many a second, for batches of ``count`` that took ``seconds`` each."""
    return [count / taken for taken in seconds]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` (0 to 1) of the values do not exceed (nearest rank)."""
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values and a share from 0 to 1")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
