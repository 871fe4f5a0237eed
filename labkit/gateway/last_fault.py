"""What the last fault cost: the chain that ``labkit.core.history.recovery`` describes, event by event. Pure.

A ``History`` answers the same for every fault of a recording, but it keeps the whole recording. A
``LastFault`` follows the latest fault only, so a gateway that runs for a class needs no more memory at its
end.

::

    fault ──► noticed ──► its tasks queued again ──► first of them done elsewhere ──► throughput back at 95 %

Instants are seconds since the history's first event. The usual rate is the median over windows of about
twenty results in the last seconds before the fault, as there.

A fault that the broker has not noticed may turn out to have no consequences: a short freeze. So it hides a
recovery under way only when it is noticed; a recovery that is complete gives way at once, and is shown again
if the fault had none.

A frozen broker writes nothing, and no event says when it goes on. What shows it: a silence after the command,
and then a report about a task that was open, or a worker that connects anew. The workers that it loses in the
seconds after that are a consequence of its freeze.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil

from labkit.core import history as h
from labkit.core.history import Event, LiveView
from labkit.core.history.live import READY
from labkit.core.history.recovery import HEALING, POLITE, RESTORED
from labkit.core.history.rows import natural

BEFORE_S = 10.0
PAUSE_S = 2.0
"""A pause longer than this ends the stretch of work before the fault."""
MIN_RESULTS, WINDOW_RESULTS, PER_WORKER = 12, 20, 6
MIN_WINDOW_S = 0.2
MOST_TIMES = 20_000
MOST_HELD = 5_000
PATIENCE_S = 60.0
"""After this time without it, throughput is not waited for any more."""
SHARES_S = 60
"""How far back the results before the fault are counted."""
FROZEN_S = 1.0
"""A shorter silence of the broker is no freeze."""
SAME_MOMENT_S = 0.5
"""Within this time after its silence, a broker that was frozen reports what it missed."""
AFTERMATH_S = 5.0
"""Workers that connect anew after a freeze of the broker do so within this time."""
STATUS_AGE_S = 3.0
"""A status may be this old."""
MOST_UNNOTICED = 64
BROKER, PAUSE = "broker", "pause"
_PRESENT = frozenset({READY, h.SUSPECT})
_REPORTS = frozenset({h.STARTED, h.DONE, h.FAILED, h.REQUEUED})


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
    elsewhere_by: str = ""
    """The worker that gave that result: the target itself if it joined again before."""
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
    before: dict[str, int] = field(default_factory=dict)
    """Results in the last minute before the fault, of each worker that was there, since all of them were."""
    woke: bool = False
    """The broker was frozen and went on; otherwise another broker took its place."""

    @property
    def recovery_s(self) -> float | None:
        """From the fault to the first result elsewhere; if it held nothing, until it was noticed."""
        end = self.elsewhere_at if self.held else self.noticed_at
        return None if end is None else end - self.began_at


class _Followed:
    """A chain, with what tells when throughput is back."""

    __slots__ = ("after", "chain", "scanned", "usual", "width")

    def __init__(self, chain: Chain, usual: float, width: float) -> None:
        self.chain = chain
        self.usual = usual
        """Results in a window before the fault; 0: too few to say."""
        self.width = width
        self.after: list[float] = []
        """The instants of the results since it was noticed."""
        self.scanned = 0

    @property
    def complete(self) -> bool:
        return self.chain.restored_at is not None or bool(self.chain.unrestored)


class LastFault:
    """See the module's head. ``add`` wants the live view as it was *before* the event."""

    def __init__(self) -> None:
        self._noticed: _Followed | None = None
        """The fault that the broker noticed last."""
        self._unnoticed: dict[str, _Followed] = {}
        """By target, the faults that it has not noticed (yet); the latest is the last."""
        self._times: deque[float] = deque(maxlen=MOST_TIMES)
        self._woke_at: float | None = None
        """When the silence of a broker ended that may be frozen."""
        self._open_then: dict[str, None] = {}
        """The tasks that were open then."""

    @property
    def chain(self) -> Chain | None:
        """The fault to show; None while there was none."""
        noticed, latest = self._noticed, next(reversed(self._unnoticed.values()), None)
        if latest is None:
            return None if noticed is None else noticed.chain
        if noticed is None or (noticed.complete and latest.chain.began_at >= noticed.chain.began_at):
            return latest.chain
        return noticed.chain

    def add(self, event: Event, t: float, before: LiveView) -> None:
        """Take in an event, in its order, that happened at ``t``."""
        self._look_for_a_freeze(event, t, before)
        chain = None if self._noticed is None else self._noticed.chain
        match event.kind:
            case h.DONE | h.FAILED | h.CANCELLED:
                self._outcome(event, t)
            case h.FAULT:
                self._fault(event, t, before)
            case h.LOST:
                self._lost(event, t, before)
            case h.REQUEUED:
                if chain and chain.requeued_at is None and event.task in chain.open:
                    chain.requeued_at = t
            case h.JOINED | h.ALIVE:
                self._back(event.worker, t)
            case h.BROKER_STARTED:
                self._new_broker(t, before)
            case h.SUBMITTED:
                if chain and chain.target == BROKER and event.task in chain.open:
                    chain.requeued_at = t if chain.requeued_at is None else chain.requeued_at

    def broker_answers(self, now: float) -> None:
        """Note that the broker answers although no task is open: if it was frozen, nothing noticed it."""
        frozen = self._unnoticed.get(BROKER)
        if frozen is not None and frozen.chain.fault == PAUSE and now - frozen.chain.began_at > STATUS_AGE_S:
            del self._unnoticed[BROKER]

    def settle(self, now: float) -> None:
        """Judge whether throughput is back by ``now``."""
        followed = self._noticed
        if followed is None or followed.complete:
            return
        chain = followed.chain
        if chain.held and chain.elsewhere_at is None:
            return
        links = (chain.began_at, chain.noticed_at, chain.requeued_at, chain.elsewhere_at)
        since = max(link for link in links if link is not None)
        if not followed.usual:
            chain.unrestored = "few_before"
            return
        after, width = followed.after, followed.width
        followed.scanned = max(followed.scanned, bisect_right(after, since))
        begin = since if not followed.scanned else after[followed.scanned - 1]
        while begin + width <= now:
            results = bisect_right(after, begin + width) - bisect_right(after, begin)
            if results >= RESTORED * followed.usual:
                chain.restored_at = begin
                after.clear()
                return
            if followed.scanned >= len(after):
                break
            begin = after[followed.scanned]
            followed.scanned += 1
        if now - chain.began_at > PATIENCE_S:
            chain.unrestored = "never"
            after.clear()

    # --- the events -----------------------------------------------------------------------------------------

    def _fault(self, event: Event, t: float, before: LiveView) -> None:
        fault, target = str(event.detail.get("fault", "")), str(event.detail.get("target", ""))
        if fault in HEALING:
            self._unnoticed.pop(target, None)
        elif fault not in POLITE and (target in before.workers or target == BROKER):
            self._unnoticed.pop(target, None)
            self._unnoticed[target] = self._begin(fault, target, t, before)
            if len(self._unnoticed) > MOST_UNNOTICED:
                del self._unnoticed[next(iter(self._unnoticed))]
            if target == BROKER:
                self._woke_at = None

    def _back(self, target: str, t: float) -> None:
        """Note that the target is there again. Without a loss meanwhile, the fault had no consequences."""
        if self._unnoticed.pop(target, None) is not None or self._noticed is None:
            return
        chain = self._noticed.chain
        if chain.target == target and chain.back_at is None:
            chain.back_at = t

    def _begin(self, fault: str, target: str, t: float, before: LiveView) -> _Followed:
        chain = Chain(fault, target, t, before=_shares(t, before))
        times = [at for at in self._times if at > t - BEFORE_S]
        for place in range(len(times) - 1, 0, -1):
            if times[place] - times[place - 1] > PAUSE_S:
                times = times[place:]
                break
        if len(times) < MIN_RESULTS or times[-1] <= times[0] or t - times[-1] > PAUSE_S:
            return _Followed(chain, 0.0, 0.0)
        stretch = t - times[0]
        wanted = max(WINDOW_RESULTS, PER_WORKER * len(before.workers))
        width = min(max(wanted * stretch / len(times), MIN_WINDOW_S), stretch / 2)
        counts = sorted(
            bisect_right(times, at + width) - bisect_right(times, at)
            for at in times[:: max(1, len(times) // 500)]
            if at + width <= t
        )
        return _Followed(chain, float(counts[len(counts) // 2]) if counts else 0.0, width)

    def _lost(self, event: Event, t: float, before: LiveView) -> None:
        followed = self._unnoticed.pop(event.worker, None)
        if followed is None:
            if self._is_aftermath(t):
                return
            followed = self._begin("", event.worker, t, before)
        known = before.workers.get(event.worker)
        self._notice(followed, t, list(known.held) if known else [])
        followed.chain.cause = str(event.detail.get("cause", ""))

    def _is_aftermath(self, t: float) -> bool:
        """Return whether a worker that is lost now is lost because the broker was frozen."""
        chain = None if self._noticed is None else self._noticed.chain
        return bool(
            chain and chain.woke and chain.noticed_at is not None and t <= chain.noticed_at + AFTERMATH_S
        )

    def _new_broker(self, t: float, before: LiveView) -> None:
        followed = self._unnoticed.pop(BROKER, None)
        if followed is None:
            if not before.open:
                return  # the first broker, or one that came after an orderly end
            followed = self._begin("", BROKER, t, before)
        self._notice(followed, t, list(before.open))
        followed.chain.back_at = t

    def _look_for_a_freeze(self, event: Event, t: float, before: LiveView) -> None:
        """Find out whether the broker was frozen until now, if it may have been."""
        frozen = self._unnoticed.get(BROKER)
        if frozen is None or frozen.chain.fault != PAUSE or event.kind == h.BROKER_STARTED:
            return
        if t - before.since_began(before.latest_at) >= FROZEN_S:
            self._woke_at, self._open_then = t, dict(before.open)
        if self._woke_at is None or t > self._woke_at + SAME_MOMENT_S:
            return
        if event.kind == h.LOST:
            if event.worker in self._unnoticed:
                return  # it has a command of its own
        elif event.kind not in _REPORTS or event.task not in self._open_then:
            return  # what clients ask for now shows nothing about the time before
        del self._unnoticed[BROKER]
        if not _was_computing(event, t, before):
            self._notice(frozen, self._woke_at, self._open_then)
            frozen.chain.back_at, frozen.chain.woke = self._woke_at, True
        self._woke_at, self._open_then = None, {}

    def _notice(self, followed: _Followed, t: float, held: Collection[str]) -> None:
        chain = followed.chain
        chain.noticed_at = t
        chain.held = min(len(held), MOST_HELD)
        chain.open = set(list(held)[:MOST_HELD])
        self._noticed = followed

    def _outcome(self, event: Event, t: float) -> None:
        if event.kind == h.DONE:
            self._times.append(t)
            while self._times[0] <= t - BEFORE_S:
                self._times.popleft()
        followed = self._noticed
        if followed is None:
            return
        chain = followed.chain
        if event.kind == h.DONE and not followed.complete and len(followed.after) < MOST_TIMES:
            followed.after.append(t)
        if chain.back_at is None or chain.target == BROKER:
            if event.kind == h.DONE:
                chain.results[event.worker] += 1
            elif event.kind == h.FAILED:
                chain.failed += 1
        if event.task in chain.open:
            chain.open.discard(event.task)
            if event.kind == h.DONE and chain.elsewhere_at is None:
                chain.elsewhere_at, chain.elsewhere_by = t, event.worker


def _shares(t: float, before: LiveView) -> dict[str, int]:
    """Return the results before ``t`` in whole seconds in which all present workers were there."""
    present = {name: worker for name, worker in before.workers.items() if worker.state in _PRESENT}
    joined = (worker.joined.at for worker in present.values() if worker.joined is not None)
    since = before.since_began(max(joined, default=before.began_at or 0.0))
    counts = dict.fromkeys(sorted(present, key=natural), 0)
    for second in range(max(ceil(since), int(t) - SHARES_S, 0), int(t)):
        for name, results in before.results.by_worker(second).items():
            if name in counts:
                counts[name] += results
    return counts


def _was_computing(event: Event, t: float, before: LiveView) -> bool:
    """Return whether a result comes as soon as it was computed: then the broker was not frozen meanwhile."""
    worker, compute_s = before.workers.get(event.worker), event.detail.get("compute_s")
    attempt = None if worker is None else worker.started.get(event.task)
    if event.kind != h.DONE or attempt is None or attempt.started_at is None:
        return False
    if not isinstance(compute_s, int | float):
        return False
    return t - (before.since_began(attempt.started_at) + compute_s) < FROZEN_S
