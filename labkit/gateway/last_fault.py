"""What the last fault cost: the chain that ``labkit.core.history.recovery`` describes, event by event. Pure.

A ``History`` answers the same for every fault of a recording, but it keeps the whole recording. A
``LastFault`` follows the latest fault only, so a gateway that runs for a class needs no more memory at its
end.

::

    fault ──► noticed ──► its tasks queued again ──► first of them done elsewhere ──► throughput back at 95 %

Instants are seconds since the history's first event. The usual rate is the median over windows of about
twenty results in the last seconds before the fault, as there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from labkit.core import history as h
from labkit.core.history import Event, LiveView
from labkit.core.history.recovery import HEALING, POLITE, RESTORED

BEFORE_S = 10.0
PAUSE_S = 2.0
"""A pause longer than this ends the stretch of work before the fault."""
MIN_RESULTS, WINDOW_RESULTS, PER_WORKER = 12, 20, 6
MIN_WINDOW_S = 0.2
MOST_TIMES = 20_000
MOST_HELD = 5_000
PATIENCE_S = 60.0
"""After this time without it, throughput is not waited for any more."""
BROKER = "broker"


@dataclass
class Chain:
    """One fault and what followed; None where it has not happened (yet)."""

    fault: str
    """kill, pause …; empty for a loss without a command."""
    target: str
    began_at: float
    cause: str = ""
    """How the broker noticed: a key of ``causes.LOSSES``."""
    noticed_at: float | None = None
    requeued_at: float | None = None
    elsewhere_at: float | None = None
    restored_at: float | None = None
    unrestored: str = ""
    """Why throughput cannot be said to be back: few_before, never; empty otherwise."""
    back_at: float | None = None
    """When the target was there again."""
    held: int = 0
    """How many tasks it held."""
    open: set[str] = field(default_factory=set)
    """Those of them without an outcome."""
    failed: int = 0
    """Tasks that failed while it was away."""
    results: Counter[str] = field(default_factory=Counter)
    """Results by worker, of the tasks that ended while it was away."""

    @property
    def recovery_s(self) -> float | None:
        """From the fault to the first result elsewhere; if it held nothing, until it was noticed."""
        end = self.elsewhere_at if self.held else self.noticed_at
        return None if end is None else end - self.began_at


class LastFault:
    """See the module's head. ``add`` wants the live view as it was *before* the event."""

    def __init__(self) -> None:
        self.chain: Chain | None = None
        self._former: Chain | None = None
        """The chain before, once it was complete: shown again if this fault has no consequences."""
        self._times: deque[float] = deque(maxlen=MOST_TIMES)
        self._after: list[float] = []
        self._usual = 0.0
        """Results in a window before the fault; 0: too few to say."""
        self._width = 0.0
        self._scanned = 0

    def add(self, event: Event, t: float, before: LiveView) -> None:
        """Take in an event, in its order, that happened at ``t``."""
        match event.kind:
            case h.DONE | h.FAILED | h.CANCELLED:
                self._outcome(event, t)
            case h.FAULT:
                self._fault(event, t, before)
            case h.LOST:
                self._lost(event, t, before)
            case h.REQUEUED:
                chain = self.chain
                if chain and chain.requeued_at is None and event.task in chain.open:
                    chain.requeued_at = t
            case h.JOINED | h.ALIVE:
                self._back(event.worker, t)
            case h.BROKER_STARTED:
                self._new_broker(t, before)
            case h.SUBMITTED:
                chain = self.chain
                if chain and chain.target == BROKER and event.task in chain.open:
                    chain.requeued_at = t if chain.requeued_at is None else chain.requeued_at

    def settle(self, now: float) -> None:
        """Judge whether throughput is back by ``now``."""
        chain = self.chain
        if chain is None or chain.restored_at is not None or chain.unrestored:
            return
        links = (chain.began_at, chain.noticed_at, chain.requeued_at, chain.elsewhere_at)
        since = max(link for link in links if link is not None)
        if chain.noticed_at is None or (chain.held and chain.elsewhere_at is None):
            return
        if not self._usual:
            chain.unrestored = "few_before"
            return
        self._scanned = max(self._scanned, bisect_right(self._after, since))
        begin = since if not self._scanned else self._after[self._scanned - 1]
        while begin + self._width <= now:
            results = bisect_right(self._after, begin + self._width) - bisect_right(self._after, begin)
            if results >= RESTORED * self._usual:
                chain.restored_at = begin
                self._after.clear()
                return
            if self._scanned >= len(self._after):
                break
            begin = self._after[self._scanned]
            self._scanned += 1
        if now - chain.began_at > PATIENCE_S:
            chain.unrestored = "never"
            self._after.clear()

    # --- the events -----------------------------------------------------------------------------------------

    def _fault(self, event: Event, t: float, before: LiveView) -> None:
        fault, target = str(event.detail.get("fault", "")), str(event.detail.get("target", ""))
        if fault in HEALING:
            if self.chain is not None and self.chain.noticed_at is None:
                self._back(target, t)
        elif fault not in POLITE and (target in before.workers or target == BROKER):
            self._begin(fault, target, t, before)

    def _back(self, target: str, t: float) -> None:
        """Note that the target is there again. Without a loss meanwhile, the fault had no consequences."""
        chain = self.chain
        if chain is None or chain.target != target:
            return
        if chain.noticed_at is None:
            self.chain = self._former
        elif chain.back_at is None:
            chain.back_at = t

    def _begin(self, fault: str, target: str, t: float, before: LiveView) -> None:
        if self.chain is not None and (self.chain.restored_at is not None or self.chain.unrestored):
            self._former = self.chain
        self.chain = Chain(fault, target, t)
        self._after = []
        self._scanned = 0
        times = [at for at in self._times if at > t - BEFORE_S]
        for place in range(len(times) - 1, 0, -1):
            if times[place] - times[place - 1] > PAUSE_S:
                times = times[place:]
                break
        self._usual = 0.0
        if len(times) < MIN_RESULTS or times[-1] <= times[0] or t - times[-1] > PAUSE_S:
            return
        stretch = t - times[0]
        wanted = max(WINDOW_RESULTS, PER_WORKER * len(before.workers))
        self._width = min(max(wanted * stretch / len(times), MIN_WINDOW_S), stretch / 2)
        counts = sorted(
            bisect_right(times, at + self._width) - bisect_right(times, at)
            for at in times[:: max(1, len(times) // 500)]
            if at + self._width <= t
        )
        self._usual = float(counts[len(counts) // 2]) if counts else 0.0

    def _lost(self, event: Event, t: float, before: LiveView) -> None:
        chain = self.chain
        if chain is None or chain.target != event.worker or chain.noticed_at is not None:
            self._begin("", event.worker, t, before)
            chain = self.chain
        assert chain is not None
        known = before.workers.get(event.worker)
        self._notice(chain, t, list(known.held) if known else [])
        chain.cause = str(event.detail.get("cause", ""))

    def _new_broker(self, t: float, before: LiveView) -> None:
        chain = self.chain
        if chain is None or chain.target != BROKER or chain.noticed_at is not None:
            if not before.open:
                return  # the first broker, or one that came after an orderly end
            self._begin("", BROKER, t, before)
            chain = self.chain
        assert chain is not None
        self._notice(chain, t, list(before.open))
        chain.back_at = t

    def _notice(self, chain: Chain, t: float, held: Collection[str]) -> None:
        chain.noticed_at = t
        chain.held = min(len(held), MOST_HELD)
        chain.open = set(list(held)[:MOST_HELD])

    def _outcome(self, event: Event, t: float) -> None:
        chain = self.chain
        if event.kind == h.DONE:
            self._times.append(t)
            while self._times[0] <= t - BEFORE_S:
                self._times.popleft()
        if chain is None:
            return
        following = chain.restored_at is None and not chain.unrestored
        if event.kind == h.DONE and following and len(self._after) < MOST_TIMES:
            self._after.append(t)
        if chain.noticed_at is None:
            return
        if chain.back_at is None or chain.target == BROKER:
            if event.kind == h.DONE:
                chain.results[event.worker] += 1
            elif event.kind == h.FAILED:
                chain.failed += 1
        if event.task in chain.open:
            chain.open.discard(event.task)
            if event.kind == h.DONE and chain.elsewhere_at is None:
                chain.elsewhere_at = t
