"""How many workers a cluster should have: a controller that reads the broker's status at a steady pace.

::

        the broker's status ──► observe ──► Decision: size ──► the cluster is scaled
                 ▲                                                   │
                 └─────────────── workers join, or drain ◄───────────┘

*It counts time, not tasks.* A thousand tasks of a millisecond are one second of work; ten tasks of a minute
are ten minutes. The broker knows how long each job took so far, and therefore how much work is open. That
work should be done in ``target_s``::

        wanted = seconds of open work / (target_s x slots of a worker)

*It grows quickly and shrinks slowly*, so that it does not flap. It grows to the size wanted now, at most to
double the size in one step, and not again before the new workers are there. It shrinks to the largest size
wanted during the last ``calm_s``, and not sooner than that after any step. (Kubernetes calls this the
stabilisation window, Dask's ``adapt`` the wait count; the target duration is Dask's, too.)

It only decides *how many*. The cluster chooses which workers leave, and they drain first.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from labkit.core.errors import N_, InvalidInput

READY = ("ready", "busy")


@dataclass(frozen=True)
class Limits:
    """The bounds of an autoscaler. Times in seconds. Raises InvalidInput for impossible values."""

    least: int = 1
    most: int = 8
    target_s: float = 5.0
    """The open work should be done after this time."""
    calm_s: float = 15.0
    """It shrinks only to a size that was enough for this long."""
    settle_s: float = 5.0
    """How long it waits for new workers to join before it asks for more."""

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1:
            raise InvalidInput(
                N_("an autoscaler cannot keep between {least} and {most} workers"),
                least=self.least,
                most=self.most,
            )
        for name in ("target_s", "calm_s", "settle_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInput(N_("{name} must be a number of seconds above 0"), name=name)


class Load(NamedTuple):
    """What an autoscaler sees of a cluster at one moment."""

    size: int
    """Workers of the cluster, including those that are down by command."""
    ready: int
    """Of these, the workers that may get a task now."""
    slots: int
    """Tasks that all ready workers together compute at the same time."""
    busy: int
    """Of these slots, those in use."""
    open_tasks: int
    """Tasks without an outcome: queued, or with a worker."""
    work_s: float
    """Seconds that one slot would need for all open tasks, as the broker estimates."""


class Decision(NamedTuple):
    """The cluster should have ``size`` workers."""

    size: int
    before: int
    open_tasks: int
    work_s: float
    """Seconds of work that were open."""


def load_of(status: Mapping[str, Any], own: Collection[str]) -> Load:
    """Return the load in a broker's status (``Scheduler.status``).

    ``own`` are the names of the cluster's workers; only they count. Guests from elsewhere help, but the
    cluster does not start them, and they may leave at any moment.
    """
    ready = [row for row in status["workers"] if row["id"] in own and row["status"] in READY]
    return Load(
        size=len(own),
        ready=len(ready),
        slots=sum(row["slots"] for row in ready),
        busy=sum(min(row["in_flight"], row["slots"]) for row in ready),
        open_tasks=status["queued"] + status["assigned"],
        work_s=status["open_work_s"],
    )


class Autoscaler:
    """See the module's head. Pure: it takes a load and the time, and starts nothing itself."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self._since = now  # the last step, or the beginning
        self._growing: tuple[int, float] | None = None  # the size asked for, and how long to wait for it
        self._wanted: deque[tuple[float, int]] = deque()  # when, how many; within ``calm_s``

    def observe(self, load: Load, now: float) -> Decision | None:
        """Return the size that the cluster should have, or None if it has it.

        Call it at a steady pace, at least a few times within ``calm_s``.
        """
        self._remember(self._enough(load), now)
        size = self._bounded(self._next_size(load, now))
        if size == load.size:
            return None
        self._since = now
        self._growing = (size, now + self.limits.settle_s) if size > load.size else None
        return Decision(size, load.size, load.open_tasks, load.work_s)

    def _enough(self, load: Load) -> int:
        """Return how many workers are enough for the open tasks; a worker that computes is needed."""
        if not load.open_tasks:
            return 0
        slots = load.slots / load.ready if load.ready else 1.0
        in_use = math.ceil(load.busy / slots)
        in_time = math.ceil(load.work_s / (self.limits.target_s * slots))
        useful = math.ceil(load.open_tasks / slots)
        return max(1, in_use, min(in_time, useful))

    def _remember(self, wanted: int, now: float) -> None:
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self.limits.calm_s:
            self._wanted.popleft()

    def _next_size(self, load: Load, now: float) -> int:
        wanted = self._wanted[-1][1]
        if wanted > load.size:
            return load.size if self._waits(load, now) else min(wanted, max(1, 2 * load.size))
        if now - self._since < self.limits.calm_s:
            return load.size
        return min(load.size, max(wanted for _, wanted in self._wanted))

    def _waits(self, load: Load, now: float) -> bool:
        """Return whether workers that were asked for have not joined yet."""
        if self._growing is not None:
            size, until = self._growing
            if load.ready >= size or now >= until:
                self._growing = None
        return self._growing is not None

    def _bounded(self, size: int) -> int:
        return max(self.limits.least, min(self.limits.most, size))
