"""Figures, how far they spread, and the verdict on a target.

A figure is one value per round (per kill, for kills). It is shown as its median with a confidence interval
(`interval_of_median`), never as one number: other load on the machine widens the interval and does not
decide the verdict. There are three verdicts: *pass* if the whole interval keeps the target's bound, *miss* if
no part of it does, *inconclusive* if the bound lies inside it. More rounds make the interval narrower, until
it decides. Nothing here measures, prints or reads a clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any, NamedTuple

from labkit.core.errors import N_, LabkitError

PASS, MISS, INCONCLUSIVE = N_("pass"), N_("miss"), N_("inconclusive")

TIMES = "x"
"""The unit of a ratio."""


class BenchFailed(LabkitError):
    """A measurement failed, so it shows nothing about speed."""


class Spread(NamedTuple):
    """The median of some values, the lowest and the highest."""

    median: float
    lowest: float
    highest: float


class Interval(NamedTuple):
    """The range, ``low`` to ``high``, in which the true median (that of endlessly many rounds) lies."""

    low: float
    high: float
    confidence: float
    """At least this share (0 to 1) of all such intervals hold the true median."""


@dataclass(frozen=True)
class Target:
    """A bound that a figure has to keep: at least ``limit``, or with ``at_most`` at most."""

    limit: float
    at_most: bool = False
    goal: float | None = None
    """A better value to aim at; no verdict depends on it."""

    def verdict(self, values: Sequence[float]) -> str:
        """Return PASS, MISS or INCONCLUSIVE: whether all, none or part of the interval keeps the bound."""
        low, high, _confidence = interval_of_median(values)
        kept = [end <= self.limit if self.at_most else end >= self.limit for end in (low, high)]
        if all(kept):
            return PASS
        return INCONCLUSIVE if any(kept) else MISS


@dataclass(frozen=True)
class Figure:
    """One measured quantity, with a value per round."""

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
    def interval(self) -> Interval:
        return interval_of_median(self.values)

    @property
    def verdict(self) -> str | None:
        """PASS, MISS or INCONCLUSIVE; None for a figure without a target."""
        return None if self.target is None else self.target.verdict(self.values)


@dataclass(frozen=True)
class Section:
    """The result of one measurement."""

    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    """How it was measured, for people, in their language."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""


ONE_SIDE_IN = 32
"""At most one measurement in so many has its true median below the interval, and at most one above. It is
2**5: all of five rounds lie on one side of the median so often, so the interval of five rounds reaches from
the lowest to the highest."""


def interval_of_median(values: Sequence[float]) -> Interval:
    """Return the narrowest interval from the k-th lowest to the k-th highest value with 93.75 % confidence.

    A round lies below the true median with probability 1/2, whatever the distribution. So the number of
    rounds below it, of n, is binomial. The k-th lowest value lies above it if fewer than k rounds lie below,
    which has the probability ``(C(n, 0) + ... + C(n, k - 1)) / 2**n``. k is the greatest for which this is at
    most 1/32: the lowest and the highest value up to 8 rounds, the 8th of 25, the 70th of 164. Fewer than 5
    rounds cannot give that confidence: they get the lowest and the highest with less, one round with none.

    The only assumption is that rounds do not depend on each other. A mean with its standard error would need
    a normal distribution, which times on a busy machine do not have, and one bad round would move it.

    Source: W. R. Thompson, "On confidence ranges for the median and other expectation distributions for
    populations of unknown distribution form", Annals of Mathematical Statistics 7 (1936). For performance:
    J.-Y. Le Boudec, "Performance Evaluation of Computer and Communication Systems" (2010), chapter 2.
    """
    ordered, n = sorted(values), len(values)
    k = fewer = 1  # of the 2**n ways in which rounds may lie, so many have fewer than k below the median
    while ONE_SIDE_IN * (fewer + comb(n, k)) <= 1 << n:
        fewer += comb(n, k)
        k += 1
    return Interval(ordered[k - 1], ordered[-k], 1 - 2 * fewer / (1 << n))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours / theirs, round by round: what slows a whole round down cancels out."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def rates(count: int, seconds: Sequence[float]) -> list[float]:
    """Return how many a second, for batches of ``count`` that took ``seconds`` each."""
    return [count / taken for taken in seconds]
