"""What a live view keeps of the history: the last half minute of results, the faults in it, and a log.

A ``Pulse`` reads each event once, as it comes, and keeps a bounded amount however long the cluster lives.
Instants are seconds since the history's first event, as in the charts.

The broker's clock is not ours to read, so "now" is reckoned: from the hour that the broker noted when it
started, corrected as soon as an event turns out to be younger than that would allow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from labkit.cluster.status_text import cause_in_words
from labkit.core import history as h
from labkit.core.history import Event
from labkit.core.history.recovery import HEALING
from labkit.support.i18n import _

CHART_S = 30
"""Seconds that the chart shows."""
LOG_LINES = 60

HARM, GOOD, PLAIN = "harm", "good", "plain"


class LogLine(NamedTuple):
    """One sentence of the log; ``mood`` is harm, good or plain; ``worker`` is whom it is about, or empty."""

    t: float
    text: str
    mood: str
    worker: str


class Mark(NamedTuple):
    """A fault at ``t``, to be drawn as a line."""

    t: float
    text: str
    harm: bool


class Second(NamedTuple):
    """The results of one whole second that began at ``t``, by worker."""

    t: int
    by_worker: dict[str, int]


class Pulse:
    """See the module's head."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        """Results by worker's name since the history began, whichever of its processes delivered them."""
        self.computing: dict[str, str] = {}
        """By worker, the task that it has begun and not ended."""
        self.log: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._marks: deque[Mark] = deque(maxlen=LOG_LINES)
        self._seconds: dict[int, Counter[str]] = {}
        self._began_at: float | None = None
        self._latest = 0.0
        self._behind = 0.0
        """How far the broker's clock is behind ours."""

    def read(self, events: Iterable[Event], monotonic: float, wall: float) -> None:
        """Take in new events, in their order; ``monotonic`` and ``wall`` are our clocks' seconds now."""
        for event in events:
            if self._began_at is None:
                self._began_at = event.at
                self._behind = monotonic - event.at
            started = event.detail.get("wall") if event.kind == h.BROKER_STARTED else None
            if isinstance(started, (int, float)):
                self._behind = monotonic - max(0.0, wall - started) - event.at
            self._latest = max(self._latest, event.at)
            self._take(event, event.at - self._began_at)
        self._behind = min(self._behind, monotonic - self._latest)
        self._forget(monotonic)

    def now(self, monotonic: float) -> float:
        """Return the present instant, in seconds since the history's first event."""
        return 0.0 if self._began_at is None else monotonic - self._behind - self._began_at

    def seconds(self, monotonic: float) -> list[Second]:
        """Return the last ``CHART_S`` whole seconds, the present one left out: it is not over yet."""
        end = int(self.now(monotonic))
        return [Second(t, dict(self._seconds.get(t, {}))) for t in range(max(0, end - CHART_S), end)]

    def marks(self, monotonic: float) -> list[Mark]:
        """Return the faults of the time that the chart shows."""
        since = int(self.now(monotonic)) - CHART_S
        return [mark for mark in self._marks if mark.t >= since]

    # --- reading --------------------------------------------------------------------------------------------

    def _forget(self, monotonic: float) -> None:
        oldest = int(self.now(monotonic)) - CHART_S - 1
        for t in [t for t in self._seconds if t < oldest]:
            del self._seconds[t]

    def _take(self, event: Event, t: float) -> None:
        if event.kind == h.DONE:
            self.done[event.worker] += 1
            self._seconds.setdefault(int(t), Counter())[event.worker] += 1
        elif event.kind == h.STARTED:
            self.computing[event.worker] = event.task
        if event.kind in h.OUTCOMES or event.kind == h.REQUEUED:
            for worker in [w for w, task in self.computing.items() if task == event.task]:
                del self.computing[worker]
        elif event.kind in (h.LOST, h.LEFT, h.JOINED):
            self.computing.pop(event.worker, None)
        elif event.kind == h.BROKER_STARTED:
            self.computing.clear()
        if event.kind == h.FAULT:
            fault, target = str(event.detail.get("fault", "")), str(event.detail.get("target", ""))
            self._marks.append(Mark(t, f"{fault} {target}", fault not in HEALING))
        if (told := _told(event)) is not None:
            text, mood = told
            self.log.append(LogLine(t, text, mood, event.worker or str(event.detail.get("target", ""))))


def _told(event: Event) -> tuple[str, str] | None:
    """Return what the log says of an event, and its mood; None for the daily round of a task."""
    detail = event.detail
    known = {
        "worker": event.worker or "?",
        "task": event.task[:6] or "?",
        "attempt": event.attempt or "?",
        "fault": detail.get("fault", "?"),
        "target": detail.get("target", "?"),
        "cause": cause_in_words(str(detail.get("cause", "?"))),
        "reason": detail.get("reason", "?"),
        "code": detail.get("code", "?"),
        "missing": detail.get("missing", "?"),
    }
    match event.kind:
        case h.FAULT:
            text, mood = _("command: {fault} {target}"), PLAIN if detail.get("fault") in HEALING else HARM
        case h.LOST:
            text, mood = _("{worker} is lost: {cause}"), HARM
        case h.REQUEUED if "wait_s" in detail:
            text, mood = _("task {task} waits: {worker} is not the first worker to fall silent with it"), HARM
        case h.REQUEUED:
            text, mood = _("task {task} is first in the queue again: {worker} no longer has it"), GOOD
        case h.SUSPECT:
            text, mood = _("{worker} is silent, and gets nothing new"), HARM
        case h.ALIVE:
            text, mood = _("{worker} is heard again"), GOOD
        case h.JOINED:
            text, mood = _("{worker} joins, as a new worker"), GOOD
        case h.DRAINING:
            text, mood = _("{worker} drains: it finishes what it holds"), PLAIN
        case h.LEFT:
            text, mood = _("{worker} has left politely, empty-handed"), PLAIN
        case h.REFUSED:
            text, mood = _("a worker was refused: {reason}"), HARM
        case h.FAILED:
            text, mood = _("task {task} failed: {code}"), HARM
        case h.POISONED:
            text, mood = _("task {task} is poison: it will not be tried again"), HARM
        case h.DUPLICATE:
            text, mood = _("a late result of task {task} from {worker} was counted and dropped"), PLAIN
        case h.BROKER_STARTED:
            text, mood = _("a broker takes up its work"), GOOD
        case h.BROKER_STOPPED:
            text, mood = _("the broker stops in peace"), PLAIN
        case h.POLICY_ERROR:
            text, mood = _("the policy failed; least_busy chose in its place"), HARM
        case h.GAP:
            text, mood = _("{missing} events are missing here"), HARM
        case _:
            return None
    return text.format(**known), mood
