"""What the panel takes from a cluster's event stream: the live view, the log in words, and the time.

A ``Feed`` reads each event once and keeps a bounded amount however long the cluster lives. Instants are
seconds since the history's first event, as in the charts.

The broker's clock cannot be read from here, so ``now`` is an estimate: the wall clock's time at the broker's
start, which the broker records, gives the offset. An event that is younger than the estimate corrects it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from labkit.cluster.status_text import cause_in_words
from labkit.core import history as h
from labkit.core.history import Event, LiveView
from labkit.core.history.causes import HUNG, LOST_WORKERS, REASONS, Causes
from labkit.core.history.recovery import HEALING, POLITE
from labkit.support.i18n import _, ngettext

CHART_S = 30
"""Seconds that the chart shows."""
LOG_LINES = 60

HARM, GOOD, PLAIN = "harm", "good", "plain"
HARMLESS = HEALING | POLITE
"""Commands that are no fault: a worker that is stopped politely finishes what it holds."""


class LogLine(NamedTuple):
    """One sentence of the log; ``mood`` is harm, good or plain; ``worker`` is its subject, or empty."""

    t: float
    text: str
    mood: str
    worker: str


class Note(NamedTuple):
    """An event that the log mentions, with the facts that its sentence needs. The sentence is made when the
    log is read, in the reader's language."""

    number: int
    """Counts the notes from 1."""
    t: float
    event: Event
    why: str
    """Why a task was requeued, or a worker left."""
    held: int
    """How many tasks a worker that left still had."""

    @property
    def about(self) -> str:
        """The worker or process that it is about, or an empty text."""
        return self.event.worker or str(self.event.detail.get("target", ""))

    def line(self) -> LogLine:
        """Return the note in the reader's language."""
        sentence = _sentence(self.event, self.why, self.held)
        assert sentence is not None, "only such events are noted"
        return LogLine(self.t, *sentence, self.about)


class Mark(NamedTuple):
    """A fault at ``t``, to be drawn as a line."""

    t: float
    text: str
    harm: bool


class Second(NamedTuple):
    """The results of one whole second that began at ``t``, by worker."""

    t: int
    by_worker: dict[str, int]


class Feed:
    """See the module's head. ``span_s``: how many seconds the charts show; ``lines``: of the log."""

    def __init__(self, span_s: int = CHART_S, lines: int = LOG_LINES) -> None:
        self.live = LiveView(span_s=1.0, keep_s=span_s + 1)
        self.notes: deque[Note] = deque(maxlen=lines)
        """What the log says, the latest last."""
        self._span_s = span_s
        self._noted = 0
        self._causes = Causes()
        self._behind = 0.0
        """How far the broker's clock is behind ours."""

    def read(self, events: Iterable[Event], monotonic: float, wall: float) -> None:
        """Take in new events, in their order. ``monotonic`` and ``wall``: our clocks' seconds now."""
        for event in events:
            self.add(event, monotonic, wall)
        self.set_clock(monotonic)

    def add(self, event: Event, monotonic: float, wall: float) -> None:
        """Take in one event; ``set_clock`` follows the last one of several."""
        if self.live.began_at is None:
            self._behind = monotonic - event.at
        started = _unix_time(event.detail.get("wall")) if event.kind == h.BROKER_STARTED else None
        if started is not None:
            self._behind = monotonic - max(0.0, wall - started) - event.at
        running = self._running() if event.kind == h.BROKER_STARTED else []
        self.live.add(event)
        why = self._causes.add(event)
        if event.kind == h.LEFT:
            why = HUNG if self._causes.has_hung(event.worker) else ""
        if event.kind in NOTED:
            self._note(event, why)
        for worker, task in running:
            self._note(event._replace(worker=worker, task=task), why)

    def _running(self) -> list[tuple[str, str]]:
        """Return (worker, task) of what is computed now: a new broker does not know it."""
        known = sorted(self.live.workers.items())
        return [(name, worker.computing) for name, worker in known if worker.computing]

    def set_clock(self, monotonic: float) -> None:
        """Take the latest event into account for ``now``, and forget results that are too old."""
        self._behind = min(self._behind, monotonic - self.live.latest_at)
        self.live.results.forget(self.now(monotonic))

    def _note(self, event: Event, why: str) -> None:
        held = len(self.live.workers[event.worker].held) if event.kind == h.LEFT and event.worker else 0
        self._noted += 1
        self.notes.append(Note(self._noted, self.live.since_began(event.at), event, why, held))

    @property
    def log(self) -> list[LogLine]:
        """The log in the reader's language, the latest line last."""
        return [note.line() for note in self.notes]

    def now(self, monotonic: float) -> float:
        """Return the present instant, in seconds since the history's first event."""
        began_at = self.live.began_at
        return 0.0 if began_at is None else monotonic - self._behind - began_at

    def done(self, worker: str) -> int:
        """Return a worker's results since the history began, whichever of its processes delivered them."""
        known = self.live.workers.get(worker)
        return known.done if known is not None else 0

    @property
    def total(self) -> int:
        """All results since the history began."""
        return self.live.counts[h.DONE]

    def seconds(self, monotonic: float) -> list[Second]:
        """Return the last whole seconds, as many as the charts show, without the present one.

        That one is not over yet.
        """
        end = int(self.now(monotonic))
        return [Second(t, self.live.results.by_worker(t)) for t in range(max(0, end - self._span_s), end)]

    def marks(self, monotonic: float) -> list[Mark]:
        """Return the faults of the time that the chart shows."""
        since = int(self.now(monotonic)) - self._span_s
        marks = []
        for event in self.live.faults:
            t, fault = self.live.since_began(event.at), str(event.detail.get("fault", ""))
            if t >= since:
                marks.append(Mark(t, f"{fault} {event.detail.get('target', '')}", fault not in HARMLESS))
        return marks


def _unix_time(wall: object) -> float | None:
    """Return the time of day at which a broker started, None if its event does not state it.

    Brokers write it in whole seconds, rounded down (2026-01-31T12:00:00Z): half a second is the mean error.
    """
    if isinstance(wall, (int, float)):
        return float(wall)
    try:
        return datetime.fromisoformat(str(wall)).timestamp() + 0.5
    except ValueError:
        return None


NOTED = frozenset(
    {
        h.FAULT, h.LOST, h.REQUEUED, h.SUSPECT, h.ALIVE, h.JOINED, h.DRAINING, h.LEFT, h.REFUSED, h.FAILED,
        h.POISONED, h.DUPLICATE, h.BROKER_STARTED, h.BROKER_STOPPED, h.POLICY_ERROR, h.GAP,
    }
)  # fmt: skip
"""The kinds of events that the log names: not those that every task has."""


def _sentence(event: Event, why: str, held: int) -> tuple[str, str] | None:
    """Return an event in the reader's language, and its mood; None for a kind that is not ``NOTED``.

    ``why``: why a task was requeued, or a worker left. ``held``: how many tasks that worker still had.
    """
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
        "why": _(REASONS[why]) if why in REASONS else "?",
        "n": held,
        "crashes": detail.get("crashes", "?"),
    }
    match event.kind:
        case h.FAULT:
            text, mood = _("command: {fault} {target}"), PLAIN if detail.get("fault") in HARMLESS else HARM
        case h.LOST:
            text, mood = _("{worker} is lost: {cause}"), HARM
        case h.REQUEUED if "crashes" in detail:
            text = _("task {task} waits: it was in {crashes} workers that crashed, perhaps by chance")
            mood = HARM
        case h.REQUEUED if "wait_s" in detail:
            text = _("task {task} waits: an earlier worker than {worker} fell silent with it, too")
            mood = HARM
        case h.REQUEUED if why in LOST_WORKERS:
            text, mood = _("task {task} is first in the queue again: {worker} no longer has it"), GOOD
        case h.REQUEUED:
            text, mood = _("task {task} of {worker} is first in the queue again: {why}"), GOOD
        case h.SUSPECT:
            text, mood = _("{worker} is silent, and gets nothing new"), HARM
        case h.ALIVE:
            text, mood = _("{worker} is heard again"), GOOD
        case h.JOINED:
            text, mood = _("{worker} joins, as a new worker"), GOOD
        case h.DRAINING:
            text, mood = _("{worker} drains: it finishes what it holds"), PLAIN
        case h.LEFT if why:
            text, mood = _("{worker} ends, because a task outran its lease there"), HARM
        case h.LEFT if held:
            text = ngettext(
                "{worker} has left before it was done: {n} task goes back to the queue",
                "{worker} has left before it was done: {n} tasks go back to the queue",
                held,
            )
            mood = HARM
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
        case h.BROKER_STARTED if event.task:
            text = _("task {task}, which {worker} was computing, is unknown to the new broker: sent again")
            mood = HARM
        case h.BROKER_STARTED:
            text, mood = _("a broker takes up its work"), GOOD
        case h.BROKER_STOPPED:
            text, mood = _("the broker stops as asked"), PLAIN
        case h.POLICY_ERROR:
            text, mood = _("the policy failed; least_busy chose in its place"), HARM
        case h.GAP:
            text, mood = (
                ngettext(
                    "{missing} event is missing here",
                    "{missing} events are missing here",
                    1 if known["missing"] == 1 else 2,
                ),
                HARM,
            )
        case _:
            return None
    return text.format(**known), mood
