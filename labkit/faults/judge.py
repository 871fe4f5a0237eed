"""Collects the claims of a case, and excuses those that a slow machine missed.

A missed time bound is excused if it was missed by no more than the time that the machine took from the
cluster (`labkit.faults.machine`). What was lost or done twice is never excused.
"""

from __future__ import annotations

import time
from typing import Any

from labkit.core.errors import LabkitError
from labkit.faults.machine import Machine
from labkit.faults.verdict import Claim

EXCUSED_SHARE = 0.25
"""A machine that took this share of the waiting time excuses an event that did not happen."""


class NotReached(LabkitError):
    """An event that a case waited for did not happen."""


class Judge:
    """Collects the claims of a case. ``machine`` measures the time that the machine took away."""

    def __init__(self, machine: Machine) -> None:
        self.claims: list[Claim] = []
        self.detection_s: float | None = None
        self.recovery_s: float | None = None
        self._machine = machine

    def detected(self, seconds: float | None) -> None:
        """Note how long the cluster took to detect a fault; the longest counts."""
        self.detection_s = _longest(self.detection_s, seconds)

    def recovered(self, seconds: float | None) -> None:
        """Note how long the interrupted work took to go on; the longest counts."""
        self.recovery_s = _longest(self.recovery_s, seconds)

    def within(self, template: str, seconds: float, limit_s: float, since: float | None = None) -> None:
        """Claim that ``seconds`` is at most ``limit_s``. ``template`` has a place for ``{seconds}``.

        ``since``: its beginning, on ``time.monotonic``. The time that the machine took from then on excuses a
        miss.
        """
        met = seconds <= limit_s
        until = None if since is None else since + seconds
        excused = not met and seconds - self._machine.lost_s(since, until) <= limit_s
        params = {"seconds": shown_seconds(seconds)}
        self.claims.append(Claim(template, params, met, excused, f"≤ {shown_seconds(limit_s)}"))

    def count(self, template: str, n: int, wanted: int) -> None:
        """Claim that ``n`` is ``wanted``; slowness is no excuse. ``template`` has a place for each."""
        self.claims.append(Claim(template, {"n": n, "wanted": wanted}, n == wanted, wanted=f"= {wanted}"))

    def true(self, template: str, met: object, **params: Any) -> None:
        """Claim that ``met`` is true; slowness is no excuse."""
        self.claims.append(Claim(template, params, bool(met)))

    def unless_slow(
        self, template: str, met: object, room_s: float, since: float | None = None, **params: Any
    ) -> None:
        """Claim that ``met`` is true, unless the machine has taken ``room_s`` from the cluster in total.

        For claims that depend on what happens in time: a worker without a processor is silent, too, and a
        flood from a program without one is a trickle. ``since``: as in ``within``.
        """
        excused = not met and self._machine.lost_s(since) >= room_s
        self.claims.append(Claim(template, params, bool(met), excused))

    def count_unless_slow(self, template: str, n: int, wanted: int, room_s: float) -> None:
        """Claim that ``n`` is ``wanted``, as ``count``, unless the machine has taken ``room_s`` in total.

        For how often a task was sent, or a worker joined: a machine that silences a worker adds to both.
        """
        excused = n != wanted and self._machine.lost_s() >= room_s
        self.claims.append(
            Claim(template, {"n": n, "wanted": wanted}, n == wanted, excused, wanted=f"= {wanted}")
        )

    def not_reached(self, error: NotReached, patience_s: float) -> None:
        """Add the missed claim of an event that did not happen. A machine that was too busy excuses it."""
        since = time.monotonic() - patience_s
        excused = self._machine.lost_s(since) >= EXCUSED_SHARE * patience_s
        self.claims.append(Claim(error.template, error.params, False, excused))


def _longest(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def shown_seconds(value: float) -> str:
    """Return a span as people read it: "12 ms", "0.42 s", "2.5 s"."""
    if value < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
