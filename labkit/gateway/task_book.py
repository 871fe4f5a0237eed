"""The latest tasks of a cluster and what happened to each: pure, event by event, within a bound.

A ``TaskBook`` answers ``GET /api/task/<id>/status/`` and the dashboard's story of a task. It keeps all open
tasks, as many as a broker takes, and the ``most`` tasks that ended last. So a gateway that runs for a whole
class needs no more memory at its end than after its first minutes.

Nearly all tasks end as done at their first attempt. Of such a task only a few numbers are kept, packed: a
third of the bytes of an ``Entry``.
"""

from __future__ import annotations

import struct
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

from labkit.core import history as h
from labkit.core.history import Event
from labkit.core.history.causes import Causes

QUEUED, IN_FLIGHT, DONE, FAILED, CANCELLED = "queued", "in_flight", "done", "failed", "cancelled"
STATES = (QUEUED, IN_FLIGHT, DONE, FAILED, CANCELLED)

ERROR, HUNG, POISONED, NO_WORKER, DEADLINE, DEADLOCK = (
    "error", "hung", "poisoned", "no_worker", "deadline", "deadlock",
)  # fmt: skip
KINDS = {
    "HUNG": HUNG,
    "POISONED": POISONED,
    "NO_WORKER": NO_WORKER,
    "DEADLINE": DEADLINE,
    "DEADLOCK": DEADLOCK,
}
"""How a task failed, by the code of its ``failed`` event. Any other code: the task's own error."""
MOST_ATTEMPTS = 20
"""Attempts that are kept of one task: the latest."""
MOST_ENDED = 20_000
MOST_OPEN = 50_000
"""A broker takes no more."""


@dataclass(slots=True)
class Attempt:
    """One dispatch of the task. Instants are the broker's seconds."""

    number: int
    worker: str
    dispatched_at: float
    started_at: float | None = None
    ended_at: float | None = None
    why: str = ""
    """Why it ended without an outcome: a key of ``causes.REASONS``."""


@dataclass(slots=True)
class Entry:
    """What is known of one task. Instants are the broker's seconds."""

    task: str
    job: str
    submitted_at: float
    state: str = QUEUED
    kind: str = ""
    """How it failed: error, hung, poisoned, no_worker, deadline, deadlock; empty otherwise."""
    error: str = ""
    worker: str = ""
    """The worker that has it, or that gave its result."""
    ended_at: float | None = None
    compute_s: float | None = None
    dispatches: int = 0
    attempts: list[Attempt] = field(default_factory=list)

    def as_json(self, now: float) -> dict[str, Any]:
        """Return the task for a caller; times are seconds before the broker's instant ``now``."""
        return {
            "status": self.state,
            "kind": self.kind or None,
            "error": self.error or None,
            "job": self.job,
            "worker": self.worker or None,
            "attempt": self.dispatches or None,
            "submitted_ago_s": round(max(0.0, now - self.submitted_at), 3),
            "waited_s": self._waited_s(now),
            "compute_s": None if self.compute_s is None else round(self.compute_s, 6),
            "attempts": [
                {
                    "attempt": each.number,
                    "worker": each.worker,
                    "started": each.started_at is not None,
                    "ended": each.ended_at is not None,
                    "why_again": each.why or None,
                }
                for each in self.attempts
            ],
        }

    def _waited_s(self, now: float) -> float:
        """Return how long it waited until its first attempt was dispatched, or has waited until now."""
        until = self.attempts[0].dispatched_at if self.attempts and self.dispatches <= MOST_ATTEMPTS else None
        if until is None:
            until = self.ended_at if self.ended_at is not None else now
        return round(max(0.0, until - self.submitted_at), 6)


_Packed = tuple[str, str, bytes]
"""Job, worker and ``_NUMBERS`` of a task that was done at its only attempt."""
_NUMBERS = struct.Struct("<I5d")
"""Attempt; submitted, dispatched, started (NaN: not reported), ended, computed (NaN: not known)."""


def _packed(entry: Entry) -> Entry | _Packed:
    """Return the same as few bytes, if it is one of those tasks; otherwise the entry itself."""
    if entry.state != DONE or entry.dispatches != 1 or entry.ended_at is None:
        return entry
    (attempt,) = entry.attempts
    if attempt.why or attempt.worker != entry.worker or attempt.ended_at != entry.ended_at:
        return entry
    if attempt.number >= 1 << 32:
        return entry
    started_at = nan if attempt.started_at is None else attempt.started_at
    compute_s = nan if entry.compute_s is None else entry.compute_s
    instants = (entry.submitted_at, attempt.dispatched_at, started_at, entry.ended_at, compute_s)
    return entry.job, entry.worker, _NUMBERS.pack(attempt.number, *instants)


def _unpacked(task: str, kept: Entry | _Packed) -> Entry:
    if isinstance(kept, Entry):
        return kept
    job, worker, numbers = kept
    number, submitted_at, dispatched_at, started_at, ended_at, compute_s = _NUMBERS.unpack(numbers)
    started = None if isnan(started_at) else started_at
    computed = None if isnan(compute_s) else compute_s
    attempt = Attempt(number, worker, dispatched_at, started, ended_at)
    return Entry(
        task, job, submitted_at, DONE, "", "", worker, ended_at, computed, dispatches=1, attempts=[attempt]
    )


class TaskBook:
    """See the module's head. ``most``: of the tasks that have ended."""

    def __init__(self, most: int = MOST_ENDED, most_open: int = MOST_OPEN) -> None:
        self._most = most
        self._most_open = most_open
        self._open: OrderedDict[str, Entry] = OrderedDict()
        self._ended: OrderedDict[str, Entry | _Packed] = OrderedDict()
        """In the order in which they ended."""
        self._causes = Causes()
        self.twice = 0
        """Outcomes of tasks that had one, and that no client submitted again since."""

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def find(self, task: str) -> Entry | None:
        """Return a task by its id of 32 hex digits, or None if it is not known or too long ago."""
        if (entry := self._open.get(task)) is not None:
            return entry
        kept = self._ended.get(task)
        return None if kept is None else _unpacked(task, kept)

    def extend(self, events: Iterable[Event]) -> list[Entry]:
        """Take in events, in their order; return the entries of the tasks that ended with them."""
        ended: list[Entry] = []
        for event in events:
            why = self._causes.add(event)
            if event.kind == h.BROKER_STARTED:
                self._new_broker(event)
            elif event.task in self._ended and event.kind == h.SUBMITTED:
                # Its outcome was lost on the way to its client, and the broker keeps none.
                del self._ended[event.task]
                self._submitted(event)
            elif event.task in self._ended:
                self.twice += event.kind in h.OUTCOMES
            elif (entry := self._open.get(event.task)) is not None:
                self._change(entry, event, why)
                if entry.ended_at is not None:
                    self._keep(entry)
                    ended.append(entry)
            elif event.kind == h.SUBMITTED:
                self._submitted(event)
        return ended

    def _submitted(self, event: Event) -> None:
        job = sys.intern(str(event.detail.get("job", "")))  # many tasks share one text
        self._open[event.task] = Entry(event.task, job, event.at)
        if len(self._open) > self._most_open:
            self._open.popitem(last=False)

    def _keep(self, entry: Entry) -> None:
        """Move a task that has ended to the others; of more than ``most``, forget the oldest."""
        del self._open[entry.task]
        self._ended[entry.task] = _packed(entry)
        if len(self._ended) > self._most:
            self._ended.popitem(last=False)

    def _new_broker(self, event: Event) -> None:
        """A new broker knows no attempt of the former one: tasks in flight wait to be sent again."""
        for entry in self._open.values():
            if entry.state == IN_FLIGHT:
                self._requeue(entry, event.at, "new_broker")

    def _change(self, entry: Entry, event: Event, why: str) -> None:
        match event.kind:
            case h.DISPATCHED:
                entry.state, entry.worker = IN_FLIGHT, sys.intern(event.worker)
                entry.dispatches += 1
                entry.attempts.append(Attempt(event.attempt, entry.worker, event.at))
                del entry.attempts[:-MOST_ATTEMPTS]
            case h.STARTED:
                for attempt in reversed(entry.attempts):
                    if (attempt.number, attempt.worker) == (event.attempt, event.worker):
                        attempt.started_at = event.at
                        break
            case h.REQUEUED:
                self._requeue(entry, event.at, why)
            case h.DONE:
                self._end(entry, event, DONE)
                compute_s = event.detail.get("compute_s")
                entry.compute_s = float(compute_s) if isinstance(compute_s, int | float) else None
            case h.FAILED:
                code = str(event.detail.get("code", ""))
                entry.kind, entry.error = KINDS.get(code, ERROR), str(event.detail.get("error", ""))
                self._end(entry, event, FAILED)
            case h.CANCELLED:
                self._end(entry, event, CANCELLED)

    def _requeue(self, entry: Entry, at: float, why: str) -> None:
        entry.state, entry.worker = QUEUED, ""
        if entry.attempts:
            entry.attempts[-1].ended_at, entry.attempts[-1].why = at, why

    def _end(self, entry: Entry, event: Event, state: str) -> None:
        entry.state, entry.ended_at = state, event.at
        entry.worker = sys.intern(event.worker) or entry.worker
        if entry.attempts:
            entry.attempts[-1].ended_at = event.at
