"""The real ``Autoscaler`` over a simulated cluster, and the check of what it does (invariant 13).

Every half second it gets the broker's status, if there is a broker that answers, and the cluster is scaled as
a real one is: workers with the next numbers start, or those with the highest numbers drain. Each step is
checked:

* there are never fewer workers than ``least`` nor more than ``most``;
* a worker that is removed drains: it is not gone at once while it computes tasks;
* the cluster shrinks only after ``calm_s`` of calm since the last step.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from labkit.core.autoscaler import Limits, load_of
from labkit.simulation.broker import BrokerHost
from labkit.simulation.loop import Loop
from labkit.simulation.parts import Parts
from labkit.simulation.violation import violated
from labkit.simulation.worker_slot import WorkerSlot

LOOK_EVERY_S: Final = 0.5


class Autoscaling:
    """An autoscaler at work from ``start`` to ``end``; meanwhile it alone decides how many workers run."""

    def __init__(
        self,
        loop: Loop,
        broker: BrokerHost,
        slots: list[WorkerSlot],
        random: Random,
        parts: Parts,
        note: Callable[[str, str], None],
    ) -> None:
        least = random.randint(1, len(slots))
        most = random.randint(least, len(slots))
        self.limits = parts.limits or Limits(
            least, most, target_s=random.choice((0.05, 0.2, 1.0)), calm_s=random.choice((0.5, 1.0, 3.0)),
            settle_s=random.choice((0.6, 2.0)),
        )  # fmt: skip
        self.size = random.randint(self.limits.least, self.limits.most)
        self._loop = loop
        self._broker = broker
        self._slots = slots
        self._parts = parts
        self._note = note
        self._stepped_at = 0.0
        self._on = False

    def start(self) -> None:
        """Take over: drain the workers above the present size now, then follow the load."""
        self._on = True
        self._stepped_at = self._loop.now
        self._autoscaler = self._parts.autoscaler(self.limits, self._loop.now)
        self._scale(self.size)
        self._loop.after(LOOK_EVERY_S, self._look)

    def end(self) -> None:
        """Decide nothing any more."""
        self._on = False
        for slot in self._slots:
            slot.dismissed = False

    def _look(self) -> None:
        if not self._on:
            return
        self._loop.after(LOOK_EVERY_S, self._look)
        if self._broker.accepts:  # otherwise a query would have no answer
            status = self._broker.scheduler.status(self._loop.now)
            own = {slot.name for slot in self._slots[: self.size]}
            decision = self._autoscaler.observe(load_of(status, own), self._loop.now)
            if decision is not None:
                self._judge(decision.size)
                self._note("scale", str(decision.size))
                self._scale(decision.size)
                self.size, self._stepped_at = decision.size, self._loop.now

    def _judge(self, size: int) -> None:
        limits = self.limits
        if not limits.least <= size <= limits.most:
            why = f"{size} workers, where {limits.least} to {limits.most} are allowed"
            violated("autoscaler", self._loop.now, why)
        calm_s = self._loop.now - self._stepped_at
        if size < self.size and calm_s < limits.calm_s - 1e-6:
            why = f"it shrank {calm_s:.3f} s after its last step: it flaps"
            violated("autoscaler", self._loop.now, why)

    def _scale(self, size: int) -> None:
        for number, slot in enumerate(self._slots):
            if number < size and slot.dismissed:
                slot.dismissed = False
                slot.persistent = True  # one that is still draining is followed by a new one
                slot.start()
            elif number >= size and not slot.dismissed:
                slot.dismissed = True
                self._dismiss(slot)

    def _dismiss(self, slot: WorkerSlot) -> None:
        """13: a busy worker leaves after it has drained, not before. What has not begun, it gives back."""
        computing = 0
        if slot.up is not None:
            tables = slot.up.session.tables()
            computing = sum(tables.runs.get(key) is not None for key in tables.held)
        self._parts.dismiss(slot)
        if computing and slot.up is None:
            why = f"{slot.name} was removed while it computed {computing} tasks"
            violated("autoscaler", self._loop.now, why)
