"""The story of one task in the reader's language: submitted, each attempt, why again, the outcome. Pure."""

from __future__ import annotations

from typing import Any

from labkit.core.history.causes import REASONS
from labkit.gateway import task_book as t
from labkit.gateway.task_book import Entry
from labkit.support.i18n import _
from labkit.support.text import seconds


def story(entry: Entry, now: float, began: float) -> dict[str, Any]:
    """Return a task's story for the page. ``began``: the history's first event; both the broker's seconds.

    Each row has its instant in seconds since the first event, and since the task was submitted.
    """
    rows: list[dict[str, Any]] = []

    def row(at: float, text: str, mood: str = "plain") -> None:
        rows.append(
            {
                "t": round(at - began, 3),
                "after": round(at - entry.submitted_at, 3),
                "text": text,
                "mood": mood,
            }
        )

    row(entry.submitted_at, _("submitted: {job}").format(job=entry.job.rpartition(":")[2] or entry.job))
    if entry.dispatches > len(entry.attempts):
        hidden = entry.dispatches - len(entry.attempts)
        row(entry.submitted_at, _("{n} earlier attempts are no longer known").format(n=hidden))
    for attempt in entry.attempts:
        row(
            attempt.dispatched_at,
            _("sent to {worker} as attempt {attempt}").format(worker=attempt.worker, attempt=attempt.number),
        )
        if attempt.started_at is not None:
            row(attempt.started_at, _("{worker} began to compute it").format(worker=attempt.worker))
        if attempt.why and attempt.ended_at is not None:
            cause = _(REASONS[attempt.why]) if attempt.why in REASONS else attempt.why
            text = _("first in the queue again, because attempt {attempt} ended: {cause}")
            row(attempt.ended_at, text.format(attempt=attempt.number, cause=cause), "harm")
    if entry.ended_at is not None:
        row(entry.ended_at, _outcome(entry), "good" if entry.state == t.DONE else "harm")
    return {
        "task": entry.task,
        "state": entry.state,
        "state_in_words": state_in_words(entry.state),
        "worker": entry.worker,
        "attempts": entry.dispatches,
        "open_for_s": None if entry.ended_at is not None else round(max(0.0, now - entry.submitted_at), 3),
        "rows": rows,
    }


def _outcome(entry: Entry) -> str:
    if entry.state == t.DONE and entry.compute_s is not None:
        text = _("{worker} delivered the result after computing for {took}")
        return text.format(worker=entry.worker, took=seconds(entry.compute_s))
    if entry.state == t.DONE:
        return _("{worker} delivered the result").format(worker=entry.worker)
    if entry.state == t.FAILED:
        return _("failed as {code}: {error}").format(code=entry.kind, error=entry.error or "–")
    return _("cancelled")


def state_in_words(state: str) -> str:
    """Return a task's state in the reader's language."""
    return {
        t.QUEUED: _("queued"),
        t.IN_FLIGHT: _("in flight"),
        t.DONE: _("done"),
        t.FAILED: _("failed"),
        t.CANCELLED: _("cancelled"),
    }[state]
