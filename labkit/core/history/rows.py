"""Answers as plain rows: the ledger, a task's story, what ran where, how fast, and how the workers fared.

Every function takes the ``Index`` of a recording and returns tuples that a table, a chart or JSON can use
directly. All instants are **seconds since the first event** of the recording (``start`` below), so that
people can read and compare them; durations are seconds.

Rules:

* Every instant is on the *broker's* clock. Clocks of different machines are never subtracted; the only number
  from a worker is ``compute_s``, a duration.
* Nothing is smoothed and nothing is left out; an unknown value is None.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from labkit.core.errors import N_
from labkit.core.history import events as e
from labkit.core.history.events import Event
from labkit.core.history.index import Attempt, Index, TaskRecord

# --- the shapes of the answers ------------------------------------------------------------------------------


class LedgerRow(NamedTuple):
    """One task from submission to outcome."""

    task: str
    job: str
    client: str
    outcome: str
    """``done``, ``failed``, ``cancelled``, or empty while it is open."""
    attempts: int
    workers: tuple[str, ...]
    """The worker of each attempt, in order; a worker that got it twice is listed twice."""
    winner: str
    """The worker whose result was delivered; empty if there is none."""
    winning_attempt: int
    submitted: float | None
    started: float | None
    """When the attempt that decided the outcome (while open: the latest one) began to run."""
    ended: float | None
    compute_s: float | None
    """How long the winner computed, by its own clock."""
    duplicates: int
    """Results that were counted and dropped."""
    code: str
    error: str

    @property
    def total_s(self) -> float | None:
        """From submission to outcome."""
        return None if self.ended is None or self.submitted is None else self.ended - self.submitted


class StoryRow(NamedTuple):
    """One line of a task's story; ``str(row)`` is its English sentence.

    ``template`` and ``params`` allow translation, as in ``LabkitError``.
    """

    t: float
    event: str
    attempt: int
    worker: str
    template: str
    params: dict[str, object]
    why: str = ""
    """For a requeue, why: a key of ``causes.REASONS``."""

    def __str__(self) -> str:
        return self.template.format(**self.params)


class Interval(NamedTuple):
    """One attempt while it ran, as far as is known, in one slot of a worker."""

    task: str
    attempt: int
    worker: str
    slot: int
    """0 up to the worker's slots - 1; in each slot, intervals follow one another."""
    start: float
    end: float
    outcome: str
    """``done``, ``failed``, ``lost``, ``requeued``, ``cancelled``, ``superseded``, ``orphaned``, or empty: it
    was still running when the recording ended."""
    cause: str = ""
    """Why it was requeued: a key of ``causes.REASONS``; empty if it was not."""


class Sample(NamedTuple):
    """How many results were delivered from ``start`` to ``end``."""

    start: float
    end: float
    done: int
    by_worker: dict[str, int]
    """The same per worker, for workers that delivered any."""

    @property
    def per_s(self) -> float:
        """Results per second."""
        return self.done / (self.end - self.start)


class WorkerSpan(NamedTuple):
    """How the broker saw a worker from ``start`` to ``end``."""

    state: str
    """``ready``, ``suspect``, ``draining``, ``lost``, ``left``; ``unknown``: a new broker has not seen it."""
    start: float
    end: float


def natural(name: str) -> tuple[object, ...]:
    """Return a key that sorts names as people do: worker-2 before worker-10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))


# --- tasks --------------------------------------------------------------------------------------------------


def ledger(index: Index, start: float) -> list[LedgerRow]:
    """Return one row per accepted task, in the order of submission."""
    return [_ledger_row(record, start) for record in index.tasks.values() if record.seen_at is not None]


def _ledger_row(record: TaskRecord, start: float) -> LedgerRow:
    deciding = record.winner or (record.attempts[-1] if record.attempts else None)
    began = deciding.started_at if deciding else None
    winner = record.winner
    return LedgerRow(
        record.task,
        record.job,
        record.client,
        record.outcome,
        len(record.attempts),
        tuple([attempt.worker for attempt in record.attempts]),
        winner.worker if winner else "",
        winner.number if winner else 0,
        None if record.seen_at is None else record.seen_at - start,
        None if began is None else began - start,
        None if record.ended_at is None else record.ended_at - start,
        winner.compute_s if winner else None,
        record.duplicates,
        record.code,
        record.error,
    )


_SET_ASIDE = "set aside"  # a requeue with an interval
_SUSPECT = "suspect"  # a requeue with an interval and a number of crashes
_SENTENCES = {
    e.SUBMITTED: N_("submitted by {client}: {job}, {bytes} bytes"),
    e.DISPATCHED: N_("sent to {worker} as attempt {attempt}"),
    e.STARTED: N_("{worker} began to compute it"),
    e.DONE: N_("{worker} delivered the result after computing for {took}"),
    e.FAILED: N_("failed as {code}: {error}"),
    e.REQUEUED: N_("first in the queue again, because attempt {attempt} ended: {cause}"),
    _SET_ASIDE: N_(
        "in the queue again, but set aside until {worker} joins again or ends, {wait_s} s at most: "
        "an earlier worker fell silent with it, too"
    ),
    _SUSPECT: N_(
        "in the queue again, but set aside for some seconds: it was running in {crashes} workers when they "
        "crashed, and it is not clear yet whether workers crash without it, too"
    ),
    e.POISONED: N_("not tried again: it was running in {crashes} workers when they crashed"),
    e.CANCELLED: N_("cancelled"),
    e.DUPLICATE: N_("another result, of attempt {attempt} by {worker}, was counted and dropped"),
    e.REJECTED: N_("not accepted: {reason}"),
    e.LOST: N_("{worker} was lost ({cause}) while it held the task"),
    e.FAULT: N_("fault injected into {target}: {fault}"),
    e.BROKER_STARTED: N_("a new broker started, which knew nothing of the task"),
}


def story(index: Index, task: str, start: float) -> list[StoryRow]:
    """Return everything that concerns one task, in order; an empty list if the task is unknown."""
    record = index.tasks.get(task)
    if record is None:
        return []
    # Circumstances come first: at the same instant, a loss precedes the requeue that it caused.
    events = [*_circumstances(index, record), *record.events]
    why = {(attempt.requeued_at, attempt.number): attempt.cause for attempt in record.attempts}
    return [
        _story_row(event, start, why.get((event.at, event.attempt), "") if event.kind == e.REQUEUED else "")
        for event in sorted(events, key=lambda event: event.at)
    ]


def _circumstances(index: Index, record: TaskRecord) -> list[Event]:
    """Return losses of workers that held the task, faults done to them meanwhile, and new brokers."""
    first = record.events[0].at
    found = [
        Event(restart.at, e.BROKER_STARTED) for restart in index.restarts if record.task in restart.open_tasks
    ]
    for fault in index.faults:
        target = fault.detail.get("target", "")
        held_by_target = any(
            attempt.worker == target and attempt.dispatched_at <= fault.at <= _until(attempt.ended_at, index)
            for attempt in record.attempts
        )
        if held_by_target or (target == "broker" and first <= fault.at <= _until(record.ended_at, index)):
            found.append(fault)
    return found + [attempt.lost_by for attempt in record.attempts if attempt.lost_by is not None]


def _until(ended_at: float | None, index: Index) -> float:
    """Return an end, or the end of the recording if there is none."""
    return index.last_at if ended_at is None else ended_at


def _story_row(event: Event, start: float, why: str) -> StoryRow:
    names = ("client", "job", "bytes", "code", "error", "cause", "crashes", "reason", "fault")
    params: dict[str, object] = dict.fromkeys(names, "?")
    params |= event.detail
    compute_s = event.detail.get("compute_s")
    params |= {
        "event": event.kind,
        "attempt": event.attempt or "?",
        "worker": event.worker or "?",
        "target": event.detail.get("target", "?"),
        "took": f"{compute_s:.3g} s" if isinstance(compute_s, (int, float)) else "?",
    }
    sentence = event.kind
    if event.kind == e.REQUEUED and "wait_s" in event.detail:
        sentence = _SUSPECT if "crashes" in event.detail else _SET_ASIDE
    template = _SENTENCES.get(sentence, "{event}")
    return StoryRow(event.at - start, event.kind, event.attempt, event.worker, template, params, why)


# --- workers ------------------------------------------------------------------------------------------------


def intervals(index: Index, start: float) -> dict[str, list[Interval]]:
    """Return per worker what ran on it, in the order of the starts; see ``History.intervals``."""
    found: dict[str, list[Interval]] = {}
    for name in sorted(index.workers, key=natural):
        record = index.workers[name]
        spans = [span for attempt in record.attempts if (span := _span(attempt, index)) is not None]
        spans.sort(key=lambda span: span[0])
        free_at = [float("-inf")] * record.slots
        rows = found[name] = []
        for begin, end, attempt in spans:
            # Take the first free slot, as a worker would. If none is free (the end was reported after the
            # next start), take the one that is free soonest.
            slot = next((i for i, at in enumerate(free_at) if at <= begin), free_at.index(min(free_at)))
            begin = min(max(begin, free_at[slot]), end)
            free_at[slot] = max(end, free_at[slot])
            rows.append(
                Interval(
                    attempt.task,
                    attempt.number,
                    name,
                    slot,
                    begin - start,
                    end - start,
                    attempt.outcome,
                    attempt.cause,
                )
            )
    return found


def _span(attempt: Attempt, index: Index) -> tuple[float, float, Attempt] | None:
    """Return when an attempt ran, None if it only waited at its worker."""
    end = _until(attempt.ended_at, index)
    begin = attempt.started_at
    if attempt.outcome == e.DONE and attempt.compute_s is not None:
        # A worker reports the start of a tiny task together with its result; the task started earlier.
        computed_from = end - attempt.compute_s
        begin = computed_from if begin is None else min(begin, computed_from)
    if begin is None:
        if attempt.outcome not in (e.DONE, e.FAILED):
            return None
        begin = attempt.dispatched_at
    return min(max(begin, attempt.dispatched_at), end), end, attempt


def states(index: Index, start: float) -> dict[str, list[WorkerSpan]]:
    """Return per worker its states over time; the last one lasts until the last event."""
    found: dict[str, list[WorkerSpan]] = {}
    for name in sorted(index.workers, key=natural):
        changes = [*index.workers[name].states, (index.last_at, "")]
        found[name] = [
            WorkerSpan(state, since - start, until - start)
            for (since, state), (until, _) in zip(changes, changes[1:], strict=False)
        ]
    return found


# --- results over time --------------------------------------------------------------------------------------


def throughput(index: Index, window_s: float, since: float, until: float, start: float) -> list[Sample]:
    """Return results per window from ``since`` to ``until``; see ``History.throughput``."""
    span = until - since
    if span <= 0:
        return []
    windows = max(1, round(span / window_s))
    width = span / windows
    counts: list[dict[str, int]] = [{} for _ in range(windows)]
    for at, worker in index.done:
        t = at - start
        if since <= t <= until:
            window = counts[min(int((t - since) / width), windows - 1)]
            window[worker] = window.get(worker, 0) + 1
    edges = [since + width * i for i in range(windows)] + [until]
    return [Sample(edges[i], edges[i + 1], sum(counts[i].values()), counts[i]) for i in range(windows)]


def share(index: Index, since: float, until: float, start: float) -> dict[str, int]:
    """Return results per worker from ``since`` up to but not including ``until``; see ``History.share``."""
    present = {
        name for name, record in index.workers.items() if _was_there(record.states, since, until, start)
    }
    counts = dict.fromkeys(present, 0)
    for at, worker in index.done:
        if since <= at - start < until:
            counts[worker] = counts.get(worker, 0) + 1
    return {name: counts[name] for name in sorted(counts, key=natural)}


def _was_there(changes: list[tuple[float, str]], since: float, until: float, start: float) -> bool:
    """Return whether a worker with these states lived at any instant of a period."""
    for i, (at, state) in enumerate(changes):
        ended = changes[i + 1][0] if i + 1 < len(changes) else float("inf")
        if state not in ("lost", "left") and at - start < until and ended - start > since:
            return True
    return False
