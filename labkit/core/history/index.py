"""The events by subject: tasks with their attempts, workers, losses, faults.

Each event is read once, when it arrives, and changes a few records in constant time. So a live view costs no
more than a recording that is read at its end, and every question (``rows``, ``recovery``) starts from records
instead of hundreds of thousands of events.

Rules:

* The order of the events is the order in which they were recorded. Nothing is sorted here.
* An event that does not fit (the result of an attempt whose dispatch was never recorded) still becomes a
  record, as far as possible. ``check`` reports such events; this module never refuses one.
* A new broker does not know its predecessor's attempts: they end as ``orphaned``, and attempt numbers begin
  again. ``generation`` distinguishes the brokers of one recording.

Guarantee: no sequence of events raises an exception.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter

from labkit.core.history import events as e
from labkit.core.history.causes import Causes
from labkit.core.history.events import Event

# How an attempt may end; DONE, FAILED and REQUEUED are the events' own names.
LOST = "lost"
"""Its worker was lost while it held the attempt."""
CANCELLED = "cancelled"
"""The task was cancelled or its deadline passed."""
SUPERSEDED = "superseded"
"""Another attempt's result arrived first."""
ORPHANED = "orphaned"
"""The broker that had dispatched it is gone."""
RUNNING = ""
"""It has not ended yet."""

MAX_SLOTS = 64  # more are not drawn

_GIVEN_UP = frozenset({"NO_WORKER", "DEADLINE"})  # codes of failures that are not the attempt's fault


class Attempt:
    """One dispatch of one task to one worker. Instants are the broker's monotonic seconds."""

    __slots__ = (
        "cause",
        "compute_s",
        "dispatched_at",
        "ended_at",
        "generation",
        "late",
        "lost_by",
        "number",
        "outcome",
        "requeued_at",
        "started_at",
        "task",
        "worker",
    )

    def __init__(self, task: str, number: int, worker: str, dispatched_at: float, generation: int) -> None:
        self.task = task
        self.number = number
        self.worker = worker
        self.dispatched_at = dispatched_at
        self.generation = generation
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.outcome = RUNNING
        self.compute_s: float | None = None
        self.requeued_at: float | None = None
        self.cause = ""  # why it was requeued: a key of ``causes.REASONS``
        self.late = False  # its result arrived after the broker had given it up
        self.lost_by: Event | None = None


class TaskRecord:
    """One task: its submission, its attempts, its outcome."""

    __slots__ = (
        "attempts",
        "client",
        "code",
        "duplicates",
        "ended_at",
        "error",
        "events",
        "job",
        "outcome",
        "seen_at",
        "submissions",
        "task",
        "winner",
    )

    def __init__(self, task: str) -> None:
        self.task = task
        self.seen_at: float | None = None  # the first instant at which it was certainly open
        self.job = ""
        self.client = ""
        self.submissions = 0
        self.attempts: list[Attempt] = []
        self.outcome = ""
        self.ended_at: float | None = None
        self.winner: Attempt | None = None
        self.code = ""
        self.error = ""
        self.duplicates = 0
        self.events: list[Event] = []


class WorkerRecord:
    """One worker's name over the whole recording, in all the processes that had it."""

    __slots__ = ("attempts", "held", "joined_at", "name", "slots", "states")

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots = 1
        self.joined_at: list[float] = []
        self.states: list[tuple[float, str]] = []  # (since, state)
        self.attempts: list[Attempt] = []
        self.held: dict[str, Attempt] = {}  # task -> attempt that has not ended


class Loss:
    """A worker was declared dead while it held these attempts."""

    __slots__ = ("at", "cause", "held", "worker")

    def __init__(self, at: float, worker: str, cause: str, held: list[Attempt]) -> None:
        self.at = at
        self.worker = worker
        self.cause = cause
        self.held = held


class Restart:
    """A broker took over from one that is gone; ``open_tasks`` had no outcome at that instant."""

    __slots__ = ("at", "open_tasks", "polite")

    def __init__(self, at: float, open_tasks: list[str], polite: bool) -> None:
        self.at = at
        self.polite = polite  # its predecessor stopped on request
        self.open_tasks = open_tasks


class Index:
    """All records. Only ``add`` changes them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.tasks: dict[str, TaskRecord] = {}
        self.workers: dict[str, WorkerRecord] = {}
        self.done: list[tuple[float, str]] = []  # (instant, worker) of each visible result
        self.busy: list[
            tuple[float, float | None]
        ] = []  # spans with at least one open task; the last may be open
        self.faults: list[Event] = []
        self.gaps: list[Event] = []
        self.losses: list[Loss] = []
        self.restarts: list[Restart] = []
        self.last_at = 0.0
        self._causes = Causes()
        self._open = 0  # tasks without an outcome
        self._generation = 0
        self._stopped = False  # the present broker stops on request
        self._handlers: dict[str, Callable[[Event], object]] = {
            e.SUBMITTED: self._submitted,
            e.DISPATCHED: self._dispatched,
            e.STARTED: self._started,
            e.DONE: self._done,
            e.FAILED: self._failed,
            e.REQUEUED: self._requeued,
            e.POISONED: self._noted,
            e.CANCELLED: self._cancelled,
            e.DUPLICATE: self._duplicate,
            e.REJECTED: self._noted,
            e.JOINED: self._joined,
            e.SUSPECT: lambda event: self._state(event, "suspect"),
            e.ALIVE: lambda event: self._state(event, "ready"),
            e.DRAINING: self._draining,
            e.LOST: self._lost,
            e.LEFT: lambda event: self._state(event, "left"),
            e.BROKER_STARTED: self._broker_started,
            e.BROKER_STOPPED: self._broker_stopped,
            e.FAULT: self._fault,
            e.GAP: self.gaps.append,
        }

    def add(self, events: Iterable[Event]) -> None:
        """Take events in, in the order in which they happened."""
        batch = list(events)
        if not batch:
            return
        handlers = self._handlers
        for event in batch:
            handler = handlers.get(event.kind)
            if handler is not None:
                handler(event)
        self.counts.update(map(itemgetter(1), batch))
        latest = max(map(itemgetter(0), batch))
        self.last_at = max(self.last_at, latest) if self.events else latest
        self.events += batch

    def worker(self, name: str) -> WorkerRecord:
        """Return the record of a worker; make it if there is none yet."""
        record = self.workers.get(name)
        if record is None:
            record = self.workers[name] = WorkerRecord(name)
        return record

    # --- tasks ----------------------------------------------------------------------------------------------

    def _noted(self, event: Event) -> TaskRecord:
        """Return the event's task, with the event in its story."""
        record = self.tasks.get(event.task)
        if record is None:
            record = self.tasks[event.task] = TaskRecord(event.task)
        record.events.append(event)
        return record

    def _opened(self, event: Event) -> TaskRecord:
        """Return the event's task, which the event proves to be open."""
        record = self._noted(event)
        if record.seen_at is None:
            record.seen_at = event.at
            self._count_open(1, event.at)
        return record

    def _count_open(self, change: int, at: float) -> None:
        self._open += change
        if change > 0 and self._open == 1:
            self.busy.append((at, None))
        elif self._open == 0:
            self.busy[-1] = (self.busy[-1][0], at)

    def _submitted(self, event: Event) -> None:
        record = self._opened(event)
        record.submissions += 1
        if record.submissions == 1:
            record.job = str(event.detail.get("job", ""))
            record.client = str(event.detail.get("client", ""))
        elif record.outcome:  # its client never received the outcome and submits it again
            record.outcome = ""
            record.ended_at = None
            record.winner = None
            self._count_open(1, event.at)

    def _dispatched(self, event: Event) -> None:
        self._new_attempt(self._opened(event), event)

    def _new_attempt(self, record: TaskRecord, event: Event) -> Attempt:
        attempt = Attempt(event.task, event.attempt, event.worker, event.at, self._generation)
        record.attempts.append(attempt)
        worker = self.worker(event.worker)
        worker.attempts.append(attempt)
        worker.held[event.task] = attempt
        return attempt

    def _find(self, record: TaskRecord, event: Event) -> Attempt | None:
        """Return the attempt that an event is about, None if it was never recorded."""
        for attempt in reversed(record.attempts):
            if attempt.generation != self._generation:
                return None
            if event.attempt in (attempt.number, 0) and event.worker in (attempt.worker, ""):
                return attempt
        return None

    def _end_attempt(self, attempt: Attempt, at: float, outcome: str) -> None:
        held = self.worker(attempt.worker).held
        if held.get(attempt.task) is attempt:
            del held[attempt.task]
        attempt.ended_at = at
        attempt.outcome = outcome

    def _end_task(self, record: TaskRecord, event: Event, others: str) -> None:
        """Give a task its outcome; its other open attempts end as ``others``."""
        record.outcome = event.kind
        record.ended_at = event.at
        for attempt in record.attempts:
            if attempt.ended_at is None:
                self._end_attempt(attempt, event.at, others)
        self._count_open(-1, event.at)

    def _started(self, event: Event) -> None:
        record = self._opened(event)
        attempt = self._find(record, event) or self._new_attempt(record, event)
        if attempt.started_at is None:
            attempt.started_at = event.at

    def _done(self, event: Event) -> None:
        record = self._opened(event)
        if record.outcome:
            return  # a second outcome: check reports it; the first one stands
        attempt = self._find(record, event) or self._new_attempt(record, event)
        attempt.late = attempt.ended_at is not None
        compute_s = event.detail.get("compute_s")
        attempt.compute_s = compute_s if isinstance(compute_s, (int, float)) else None
        self._end_attempt(attempt, event.at, e.DONE)
        record.winner = attempt
        self.done.append((event.at, event.worker))
        self._end_task(record, event, SUPERSEDED)

    def _failed(self, event: Event) -> None:
        self._causes.add(event)
        record = self._opened(event)
        if record.outcome:
            return
        record.code = str(event.detail.get("code", ""))
        record.error = str(event.detail.get("error", ""))
        self._end_task(record, event, CANCELLED if record.code in _GIVEN_UP else e.FAILED)

    def _cancelled(self, event: Event) -> None:
        record = self._opened(event)
        if not record.outcome:
            self._end_task(record, event, CANCELLED)

    def _requeued(self, event: Event) -> None:
        cause = self._causes.add(event)
        record = self._opened(event)
        attempt = self._find(record, event)
        if attempt is None:
            return
        attempt.requeued_at = event.at
        attempt.cause = cause
        if attempt.ended_at is None:
            self._end_attempt(attempt, event.at, e.REQUEUED)

    def _duplicate(self, event: Event) -> None:
        record = self._noted(event)
        record.duplicates += 1
        attempt = self._find(record, event)
        if attempt is not None:
            attempt.late = True
            if attempt.outcome in (SUPERSEDED, CANCELLED):  # it was still computing until now
                attempt.ended_at = event.at

    # --- workers and broker ---------------------------------------------------------------------------------

    def _state(self, event: Event, state: str) -> WorkerRecord:
        record = self.worker(event.worker)
        record.states.append((event.at, state))
        return record

    def _joined(self, event: Event) -> None:
        self._causes.add(event)
        record = self._state(event, "ready")
        record.joined_at.append(event.at)
        slots = event.detail.get("slots", 1)
        record.slots = max(record.slots, min(slots, MAX_SLOTS) if isinstance(slots, int) else 1)

    def _draining(self, event: Event) -> None:
        self._causes.add(event)
        self._state(event, "draining")

    def _fault(self, event: Event) -> None:
        self._causes.add(event)
        self.faults.append(event)

    def _lost(self, event: Event) -> None:
        self._causes.add(event)
        record = self._state(event, "lost")
        held = list(record.held.values())
        for attempt in held:
            attempt.lost_by = event
            self._end_attempt(attempt, event.at, LOST)
        self.losses.append(Loss(event.at, event.worker, str(event.detail.get("cause", "")), held))

    def _broker_started(self, event: Event) -> None:
        if self._generation or self.tasks:
            open_tasks = [
                task
                for task, record in self.tasks.items()
                if record.seen_at is not None and not record.outcome
            ]
            self.restarts.append(Restart(event.at, open_tasks, self._stopped))
        self._stopped = False
        for worker in self.workers.values():
            for attempt in list(worker.held.values()):
                self._end_attempt(attempt, event.at, ORPHANED)
            if worker.states and worker.states[-1][1] not in ("lost", "left"):
                worker.states.append((event.at, "unknown"))
        self._generation += 1

    def _broker_stopped(self, _event: Event) -> None:
        self._stopped = True
