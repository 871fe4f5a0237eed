"""What came of a load: offered and achieved rate, waiting, service, errors, who did how much. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from labkit.support.percentiles import percentile

SHARES = (0.5, 0.95, 0.99)
KEPT_UP = 0.9
"""The part of the possible rate that a cluster achieves that keeps up."""
LATE_S = 0.05
"""A generator may be this late (p95), or by a quarter of what the tasks wait."""


class Outcome(NamedTuple):
    """One task; instants are seconds since the load began."""

    planned: float
    """When it should have been submitted: from here it waits."""
    submitted: float
    ended: float
    compute_s: float | None
    """How long the worker computed; None if it failed."""
    worker: str
    error: str = ""
    """The name of the error; empty if it was done."""

    @property
    def response_s(self) -> float:
        """Seconds from the planned instant to the end."""
        return self.ended - self.planned

    @property
    def waiting_s(self) -> float:
        """Seconds that were not computing."""
        return max(0.0, self.response_s - (self.compute_s or 0.0))


class Report(NamedTuple):
    """The figures of a load; times in seconds, rates per second. Percentiles are of 0.5, 0.95 and 0.99."""

    tasks: int
    offered: float
    """Planned tasks per second."""
    submitted: float
    """Tasks per second that the generator did submit: less than offered if this machine was too busy."""
    achieved: float
    """Results per second, from the first planned instant to the last result."""
    waiting_s: tuple[float, ...]
    service_s: tuple[float, ...]
    errors: dict[str, int]
    by_worker: dict[str, int]
    late_s: float = 0.0
    """By how much the generator was late with 95 % of the tasks at most."""

    @property
    def on_time(self) -> bool:
        """Whether the generator kept to its plan; otherwise the figures show this machine only."""
        waiting_s = self.waiting_s[1] if self.waiting_s else 0.0
        return self.submitted >= 0.9 * self.offered and self.late_s <= max(LATE_S, waiting_s / 4)

    @property
    def possible(self) -> float:
        """The rate that a cluster achieves that keeps up: the last task still takes its own time."""
        service_s = self.service_s[1] if self.service_s else 0.0
        return self.tasks / (self.tasks / self.offered + service_s)

    @property
    def kept_up(self) -> bool:
        """Whether results came about as fast as tasks."""
        return self.achieved >= KEPT_UP * self.possible

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            **self._asdict(),
            "waiting_s": dict(zip(("p50", "p95", "p99"), self.waiting_s, strict=False)),
            "service_s": dict(zip(("p50", "p95", "p99"), self.service_s, strict=False)),
            "on_time": self.on_time,
            "kept_up": self.kept_up,
        }


def report(outcomes: Sequence[Outcome], seconds: float) -> Report:
    """Return the figures of at least one task; ``seconds``: how long the load was planned to arrive."""
    done = [outcome for outcome in outcomes if not outcome.error]
    last = max(outcome.ended for outcome in outcomes)
    latest = max(outcome.submitted for outcome in outcomes)
    return Report(
        tasks=len(outcomes),
        offered=len(outcomes) / seconds,
        submitted=len(outcomes) / max(seconds, latest),
        achieved=len(done) / last if last > 0 else 0.0,
        waiting_s=_percentiles([outcome.waiting_s for outcome in done]),
        service_s=_percentiles([outcome.compute_s or 0.0 for outcome in done]),
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error)),
        by_worker=dict(sorted(Counter(outcome.worker for outcome in done).items())),
        late_s=_percentiles([max(0.0, outcome.submitted - outcome.planned) for outcome in outcomes])[1],
    )


def _percentiles(values: Sequence[float]) -> tuple[float, ...]:
    ordered = sorted(values)
    return tuple(percentile(ordered, share) for share in SHARES) if ordered else ()
