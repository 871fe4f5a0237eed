"""The latest tasks of a cluster and what happened to each: pure, event by event, within a bound.

A ``TaskBook`` answers ``GET /api/task/<id>/status/`` and the dashboard's story of a task. It keeps the
``most`` tasks that were submitted last, so a gateway that runs for a whole class needs no more memory at its
end than after its first minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
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


class TaskBook:
    """The latest ``most`` tasks; see the module's head."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._causes = Causes()
        self.twice = 0
        """Tasks that had a second outcome."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, task: str) -> Entry | None:
        """Return a task by its id of 32 hex digits, or None if it is not known or too long ago."""
        return self._entries.get(task)

    def extend(self, events: Iterable[Event]) -> list[Entry]:
        """Take in events, in their order; return the entries of the tasks that ended with them."""
        ended: list[Entry] = []
        for event in events:
            why = self._causes.add(event)
            entry = self._entries.get(event.task) if event.task else None
            if event.kind == h.SUBMITTED:
                if entry is None:
                    self._submitted(event)
            elif event.kind == h.BROKER_STARTED:
                self._new_broker(event)
            elif entry is not None and entry.ended_at is not None:
                self.twice += event.kind in h.OUTCOMES
            elif entry is not None:
                self._change(entry, event, why)
                if entry.ended_at is not None:
                    ended.append(entry)
        return ended

    def _submitted(self, event: Event) -> None:
        self._entries[event.task] = Entry(event.task, str(event.detail.get("job", "")), event.at)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def _new_broker(self, event: Event) -> None:
        """A new broker knows no attempt of the former one: what was in flight waits to be sent again."""
        for entry in self._entries.values():
            if entry.state == IN_FLIGHT:
                self._requeue(entry, event.at, "new_broker")

    def _change(self, entry: Entry, event: Event, why: str) -> None:
        match event.kind:
            case h.DISPATCHED:
                entry.state, entry.worker = IN_FLIGHT, event.worker
                entry.dispatches += 1
                entry.attempts.append(Attempt(event.attempt, event.worker, event.at))
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
        entry.worker = event.worker or entry.worker
        if entry.attempts:
            entry.attempts[-1].ended_at = event.at
