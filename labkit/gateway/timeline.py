"""Who computed what in the last minute, and which tasks went from one worker to another. Pure.

A worker may compute a thousand tasks a second. No page draws them one by one, so the attempts that a worker
ended within a quarter of a second become one span when there are more than ``MOST_IN_A_SLICE`` of them. Spans
and arrows have numbers: a reader that has seen those up to a number asks for the ones after it.

Instants are seconds since the history's first event.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from labkit.core import history as h
from labkit.core.history import Event

SLICE_S = 0.25
MOST_IN_A_SLICE = 6
MOST_SPANS = 4_000
MOST_ARROWS = 200
MOST_OPEN = 20_000
"""Attempts that are followed at the same time; of more, the oldest are not drawn."""

DONE, FAILED, LOST = "done", "failed", "lost"


class Span(NamedTuple):
    """An attempt, or ``n`` of them, that a worker computed from ``begin`` to ``end``."""

    number: int
    worker: str
    begin: float
    end: float
    task: str
    """The first of its tasks."""
    n: int
    outcome: str
    """done, failed or lost: its worker no longer has it."""


class Arrow(NamedTuple):
    """A task that was taken from one worker and sent to another. One that gets it back has none."""

    number: int
    task: str
    giver: str
    given_at: float
    taker: str
    taken_at: float


class _Open:
    __slots__ = ("since", "started", "worker")

    def __init__(self, worker: str, since: float) -> None:
        self.worker = worker
        self.since = since
        self.started = False


class Timeline:
    """See the module's head. ``span_s``: how long spans and arrows are kept."""

    def __init__(self, span_s: float = 60.0) -> None:
        self._span_s = span_s
        self._spans: deque[Span] = deque(maxlen=MOST_SPANS)
        self._arrows: deque[Arrow] = deque(maxlen=MOST_ARROWS)
        self._numbers = 0
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._given: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._slice = 0
        self._in_slice: dict[str, list[Span]] = {}

    @property
    def latest(self) -> int:
        """The number of the latest span or arrow."""
        return self._numbers

    def add(self, event: Event, t: float) -> None:
        """Take in an event, in its order, that happened at ``t``."""
        match event.kind:
            case h.DISPATCHED:
                self._dispatched(event, t)
            case h.STARTED:
                attempt = self._open.get(event.task)
                if attempt is not None and attempt.worker == event.worker:
                    attempt.since, attempt.started = t, True
            case h.DONE:
                self._done(event, t)
            case h.FAILED:
                self._ended(event.task, t, FAILED)
            case h.CANCELLED:
                self._ended(event.task, t, LOST)
                self._given.pop(event.task, None)
            case h.REQUEUED:
                if event.worker:
                    _put(self._given, event.task, (event.worker, t))
                self._ended(event.task, t, LOST)
            case h.BROKER_STARTED:
                for task in list(self._open):
                    self._ended(task, t, LOST)
                self._given.clear()

    def settle(self, t: float) -> None:
        """Give the spans of the slices before ``t`` their numbers, and forget what is too old."""
        if int(t / SLICE_S) != self._slice:
            self._flush()
            self._slice = int(t / SLICE_S)
        for rows in (self._spans, self._arrows):
            while rows and _end(rows[0]) < t - self._span_s:
                rows.popleft()

    def spans(self, after: int = 0) -> list[Span]:
        """Return the spans after the one with this number, the oldest first."""
        return _after(self._spans, after)

    def arrows(self, after: int = 0) -> list[Arrow]:
        """Return the arrows after the one with this number, the oldest first."""
        return _after(self._arrows, after)

    def _dispatched(self, event: Event, t: float) -> None:
        _put(self._open, event.task, _Open(event.worker, t))
        given = self._given.pop(event.task, None)
        if given is not None and given[0] != event.worker:
            self._numbers += 1
            self._arrows.append(Arrow(self._numbers, event.task, *given, event.worker, t))

    def _done(self, event: Event, t: float) -> None:
        attempt = self._open.pop(event.task, None)
        self._given.pop(event.task, None)
        compute_s = event.detail.get("compute_s")
        if isinstance(compute_s, int | float):
            begin = t - compute_s
        elif attempt is not None:
            begin = attempt.since
        else:
            return
        self._span(event.worker, begin, t, event.task, DONE)

    def _ended(self, task: str, t: float, outcome: str) -> None:
        attempt = self._open.pop(task, None)
        if attempt is not None and attempt.started:
            self._span(attempt.worker, attempt.since, t, task, outcome)

    def _span(self, worker: str, begin: float, end: float, task: str, outcome: str) -> None:
        self.settle(end)
        self._in_slice.setdefault(worker, []).append(Span(0, worker, max(0.0, begin), end, task, 1, outcome))

    def _flush(self) -> None:
        for worker, spans in self._in_slice.items():
            done = [span for span in spans if span.outcome == DONE]
            kept = spans
            if len(done) > MOST_IN_A_SLICE:
                begin = min(span.begin for span in done)
                kept = [span for span in spans if span.outcome != DONE][:MOST_IN_A_SLICE]
                kept.append(Span(0, worker, begin, done[-1].end, done[0].task, len(done), DONE))
            for span in kept:
                self._numbers += 1
                self._spans.append(span._replace(number=self._numbers))
        self._in_slice.clear()


Row = TypeVar("Row", Span, Arrow)
Value = TypeVar("Value")


def _end(row: Span | Arrow) -> float:
    return row.end if isinstance(row, Span) else row.taken_at


def _put(known: OrderedDict[str, Value], task: str, value: Value) -> None:
    known.pop(task, None)
    known[task] = value
    if len(known) > MOST_OPEN:
        known.popitem(last=False)


def _after(rows: Iterable[Row], number: int) -> list[Row]:
    return [row for row in rows if row.number > number]
