"""The search for the knee: the highest rate at which the cluster still follows. Pure.

::

    climbing --followed--> climbing  (times ``FACTOR``)       climbing --not followed--> closing in
    closing in --any--> closing in  (the middle)              closing in --close enough--> over

A step is followed if p95 of waiting stays below ``bound_s`` and as many results come as tasks go in. A step
in which the generator was late says nothing about the cluster: the search ends there as inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from labkit.load.report import Report

FACTOR = 1.5
CLOSE = 1.15
"""The search ends when the lowest rate not followed is less than this many times the highest followed."""
MOST_STEPS = 20


class Step(NamedTuple):
    """One rate and what came of it."""

    rate: float
    report: Report
    followed: bool


@dataclass
class Ramp:
    """Asks for one rate after the other: ``next_rate``, then ``take`` its report, until ``over``."""

    start: float
    bound_s: float
    steps: list[Step] = field(default_factory=list)
    late: bool = False
    """The generator did not keep to its plan: the machine was too busy to tell."""

    @property
    def knee(self) -> float | None:
        """The highest rate that was followed; None if none was."""
        followed = [step.rate for step in self.steps if step.followed]
        return max(followed, default=None)

    @property
    def beyond(self) -> float | None:
        """The lowest rate that was not followed; None if all were."""
        return min((step.rate for step in self.steps if not step.followed), default=None)

    @property
    def is_bound_by_waiting(self) -> bool:
        """Whether tasks waited too long at the lowest rate that was not followed; else too few were done."""
        step = min(
            (step for step in self.steps if not step.followed), key=lambda step: step.rate, default=None
        )
        return step is not None and bool(step.report.waiting_s) and step.report.waiting_s[1] > self.bound_s

    @property
    def over(self) -> bool:
        """Whether the search has ended."""
        if self.late or len(self.steps) >= MOST_STEPS:
            return True
        knee, beyond = self.knee, self.beyond
        if beyond is None:
            return False
        return beyond <= self.start / 100 if knee is None else beyond < CLOSE * knee

    def next_rate(self) -> float:
        """Return the rate to offer next, in tasks per second."""
        knee, beyond = self.knee, self.beyond
        if knee is None:
            return self.start if beyond is None else beyond / 2
        return FACTOR * knee if beyond is None else (knee + beyond) / 2

    def take(self, rate: float, report: Report) -> bool:
        """Note what came of a rate; return whether it was followed."""
        if not report.on_time:
            self.late = True
            return False
        p95_s = report.waiting_s[1] if report.waiting_s else float("inf")
        followed = p95_s <= self.bound_s and report.kept_up
        followed = followed and not report.errors
        self.steps.append(Step(rate, report, followed))
        return followed
