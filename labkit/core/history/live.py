"""The present state of a cluster, kept up to date event by event.

A ``LiveView`` answers what a face shows now: which worker holds and computes which task, how each worker is,
how many results each has delivered and at what rate, which faults were done, who was away and when. A
`History` keeps everything and can be asked about any instant; a live view keeps only what its answers need.

::

    view = LiveView()
    view.extend(events)                  # as they arrive; each once, in order
    view.running()                       # {task: worker} of all attempts that have started and not ended

Rules:

* An event costs constant time, except for the loss of a worker and the start of a broker, which cost as much
  as there are attempts that end with them.
* Memory is bounded by the open tasks, the names of workers that have joined, the period of the results that
  are kept, and ``MOST_MARKS``. A view of chosen tasks (``of``) also remembers which of them have ended.
* Instants are the broker's clock, as in the events. Spans of results are counted from the first event.
* Any sequence of events is accepted without an exception. Where events are missing, the latest one counts.

Guarantee: after each event of a recording without gaps, ``running``, what workers hold, their states and
their results are those of a `History` of the same events (``tests/unit/core/history/test_live.py``).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from labkit.core.history import events as e
from labkit.core.history.events import Event

MOST_MARKS = 60
"""Faults and outages that are kept: the latest."""

ABSENT, READY, UNKNOWN = "absent", "ready", "unknown"
_STATES = {e.JOINED: READY, e.ALIVE: READY}  # the other kinds name the state themselves


class LiveAttempt:
    """An attempt that has not ended."""

    __slots__ = ("number", "started_at", "task", "worker")

    def __init__(self, task: str, number: int, worker: str) -> None:
        self.task = task
        self.number = number
        self.worker = worker
        self.started_at: float | None = None


class LiveWorker:
    """One worker's name, with the process that has it now."""

    __slots__ = (
        "done",
        "fault",
        "fault_at",
        "held",
        "joined",
        "last_seen",
        "losses",
        "name",
        "since",
        "started",
        "state",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ABSENT
        """absent, ready, suspect, draining, lost, left; unknown: a new broker has not met it."""
        self.since = 0.0
        """When this state began."""
        self.joined: Event | None = None
        """How it joined, until it is lost or leaves."""
        self.held: dict[str, LiveAttempt] = {}
        """Attempts that were sent to it and have not ended, by task, in the order of dispatch."""
        self.started: dict[str, LiveAttempt] = {}
        """Those of them that have started, in the order of their starts."""
        self.done = 0
        """Results delivered since the view began."""
        self.losses = 0
        """How often it was lost since the view began."""
        self.fault = ""
        """The last fault done to it, until it joins again: kill, start …"""
        self.fault_at = 0.0
        self.last_seen: dict[str, float] = {}
        """By kind of event about it (lost, joined, done …), the instant of the last one."""

    @property
    def computing(self) -> str:
        """The task that it started last and has not ended; empty if there is none."""
        return next(reversed(self.started), "")


class Outage(NamedTuple):
    """A worker was lost at ``begin`` and joined again at ``end``, None while it is away."""

    worker: str
    begin: float
    end: float | None


class Results:
    """Results by worker in spans of ``span_s`` seconds. Spans older than ``keep_s`` are forgotten."""

    def __init__(self, span_s: float, keep_s: float) -> None:
        self.span_s = span_s
        self._keep = keep_s / span_s
        self._spans: dict[int, Counter[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._spans)

    def index(self, t: float) -> int:
        """Return the number of the span that holds ``t``, in seconds since the first event."""
        return int(t / self.span_s)

    def add(self, t: float, worker: str) -> None:
        """Count a result at ``t``."""
        index = self.index(t)
        span = self._spans.get(index)
        if span is None:
            span = self._spans[index] = Counter()
            self.forget(t)
        span[worker] += 1

    def forget(self, t: float) -> None:
        """Forget the spans that are too old at ``t``. ``add`` does so too; call it when no result comes."""
        oldest = self.index(t) - self._keep
        while self._spans and (first := next(iter(self._spans))) < oldest:
            del self._spans[first]

    def by_worker(self, index: int) -> dict[str, int]:
        """Return the results of one span by worker; those without any are left out."""
        return dict(self._spans.get(index, {}))

    def columns(self, first: int, columns: int, width: int = 1, worker: str = "") -> list[int]:
        """Return the results of ``columns`` columns, ``width`` spans each, from span ``first`` on.

        ``worker``: only this worker's.
        """
        return [
            sum(self._count(index, worker) for index in range(begin, begin + width))
            for begin in range(first, first + columns * width, width)
        ]

    def _count(self, index: int, worker: str) -> int:
        span = self._spans.get(index)
        if span is None:
            return 0
        return span[worker] if worker else span.total()


class LiveView:
    """See the module's head.

    ``of``: take in only events of these tasks, beside those that are about no task; it may grow meanwhile.
    ``span_s`` and ``keep_s``: the resolution of ``results``, and how long they are kept.
    """

    def __init__(
        self, of: Container[str] | None = None, *, span_s: float = 1.0, keep_s: float = 60.0
    ) -> None:
        self._of = of
        self.workers: dict[str, LiveWorker] = {}
        self.open: dict[str, None] = {}
        """Tasks that the present broker was given and that have no outcome, in the order of submission."""
        self.ended: set[str] = set()
        """With ``of``: those of its tasks that have had an outcome."""
        self.counts: Counter[str] = Counter()
        """Events taken in, by kind."""
        self.results = Results(span_s, keep_s)
        self.faults: deque[Event] = deque(maxlen=MOST_MARKS)
        """The injected faults."""
        self.began_at: float | None = None
        """The first event's instant; None while there is none."""
        self.latest_at = 0.0
        self._attempts: dict[str, LiveAttempt] = {}  # by task; at most one of each is open
        self._running: dict[str, LiveAttempt] = {}  # by task, in the order of the starts
        self._outages: deque[Outage] = deque(maxlen=MOST_MARKS)
        self._away: dict[str, float] = {}  # since when, by worker
        self._handlers: dict[str, Callable[[Event], object]] = {
            e.SUBMITTED: self._submitted,
            e.DISPATCHED: self._dispatched,
            e.STARTED: self._started,
            e.REQUEUED: self._requeued,
            e.DONE: self._done,
            e.FAILED: self._ended,
            e.CANCELLED: self._ended,
            e.JOINED: self._joined,
            e.SUSPECT: self._state,
            e.ALIVE: self._state,
            e.DRAINING: self._state,
            e.LOST: self._lost,
            e.LEFT: self._left,
            e.BROKER_STARTED: self._broker_started,
            e.FAULT: self._fault,
        }

    # --- taking events in -----------------------------------------------------------------------------------

    def extend(self, events: Iterable[Event]) -> None:
        """Take in events, in the order in which they happened."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take in one event."""
        if self.began_at is None:
            self.began_at = event.at
        self.latest_at = max(self.latest_at, event.at)
        if event.task and self._of is not None and event.task not in self._of:
            return
        self.counts[event.kind] += 1
        if event.worker and event.kind != e.REFUSED:  # of refused names there may be any number
            self.worker(event.worker).last_seen[event.kind] = event.at
        handler = self._handlers.get(event.kind)
        if handler is not None:
            handler(event)

    # --- answers --------------------------------------------------------------------------------------------

    def worker(self, name: str) -> LiveWorker:
        """Return a worker, a new one at its first mention."""
        worker = self.workers.get(name)
        if worker is None:
            worker = self.workers[name] = LiveWorker(name)
        return worker

    def running(self) -> dict[str, str]:
        """Return which tasks have started and not ended, each with its worker; the latest start last."""
        return {task: attempt.worker for task, attempt in self._running.items()}

    def outages(self) -> list[Outage]:
        """Return when workers were away, from a loss until they joined again; those that last come last."""
        return [*self._outages, *(Outage(worker, since, None) for worker, since in self._away.items())]

    def since_began(self, at: float) -> float:
        """Return an instant of the broker's clock in seconds since the first event."""
        return at - (self.began_at or 0.0)

    # --- tasks ----------------------------------------------------------------------------------------------

    def _submitted(self, event: Event) -> None:
        self.open[event.task] = None

    def _dispatched(self, event: Event) -> None:
        self._new_attempt(event)

    def _new_attempt(self, event: Event) -> LiveAttempt:
        self._end_attempt(event.task)
        attempt = LiveAttempt(event.task, event.attempt, event.worker)
        self.open.setdefault(event.task)
        self._attempts[event.task] = attempt
        self.worker(event.worker).held[event.task] = attempt
        return attempt

    def _started(self, event: Event) -> None:
        attempt = self._attempts.get(event.task)
        if attempt is None or not _is_of(event, attempt):
            attempt = self._new_attempt(event)  # its dispatch is missing
        if attempt.started_at is None:
            attempt.started_at = event.at
            self._running[event.task] = attempt
            self.worker(event.worker).started[event.task] = attempt

    def _requeued(self, event: Event) -> None:
        attempt = self._attempts.get(event.task)
        if attempt is not None and _is_of(event, attempt):
            self._end_attempt(event.task)

    def _done(self, event: Event) -> None:
        self.worker(event.worker).done += 1
        self.results.add(self.since_began(event.at), event.worker)
        self._ended(event)

    def _ended(self, event: Event) -> None:
        self.open.pop(event.task, None)
        self._end_attempt(event.task)
        if self._of is not None:
            self.ended.add(event.task)

    def _end_attempt(self, task: str) -> None:
        attempt = self._attempts.pop(task, None)
        if attempt is not None:
            self._running.pop(task, None)
            worker = self.workers[attempt.worker]
            worker.held.pop(task, None)
            worker.started.pop(task, None)

    # --- workers and broker ---------------------------------------------------------------------------------

    def _state(self, event: Event) -> LiveWorker:
        worker = self.worker(event.worker)
        state = _STATES.get(event.kind, event.kind)
        if state != worker.state:
            worker.state, worker.since = state, event.at
        return worker

    def _joined(self, event: Event) -> None:
        worker = self._state(event)
        self._end_attempts(worker)
        worker.joined = event
        worker.fault = ""
        if (since := self._away.pop(event.worker, None)) is not None:
            self._outages.append(Outage(event.worker, since, event.at))

    def _lost(self, event: Event) -> None:
        worker = self._state(event)
        self._end_attempts(worker)
        worker.joined = None
        worker.losses += 1
        self._away.setdefault(event.worker, event.at)

    def _left(self, event: Event) -> None:
        self._state(event).joined = None  # what it gave back is requeued by events of its own

    def _end_attempts(self, worker: LiveWorker) -> None:
        for task in list(worker.held):
            self._end_attempt(task)

    def _broker_started(self, event: Event) -> None:
        self.open.clear()
        for worker in self.workers.values():
            self._end_attempts(worker)
            if worker.state not in (ABSENT, UNKNOWN, e.LOST, e.LEFT):
                worker.state, worker.since = UNKNOWN, event.at

    def _fault(self, event: Event) -> None:
        self.faults.append(event)
        worker = self.workers.get(str(event.detail.get("target", "")))
        if worker is not None:
            worker.fault, worker.fault_at = str(event.detail.get("fault", "")), event.at


def _is_of(event: Event, attempt: LiveAttempt) -> bool:
    """Return whether an event is about this attempt. An event may leave out its number or its worker."""
    return event.attempt in (attempt.number, 0) and event.worker in (attempt.worker, "")
