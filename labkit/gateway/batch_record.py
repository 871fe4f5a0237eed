"""One distributed batch: its tasks, what became of each, and its JSON. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from typing import Any

from labkit.core.errors import (
    ClientGone,
    DeadlineExceeded,
    NoWorker,
    TaskDeadlock,
    TaskHung,
    TaskPoisoned,
)
from labkit.gateway import task_book as t
from labkit.imaging.filters import Step

_FAILURES: tuple[tuple[type[BaseException], str, str], ...] = (
    (CancelledError, t.CANCELLED, ""),
    (ClientGone, t.CANCELLED, "gateway_closed"),
    (TaskHung, t.FAILED, t.HUNG),
    (TaskPoisoned, t.FAILED, t.POISONED),
    (NoWorker, t.FAILED, t.NO_WORKER),
    (DeadlineExceeded, t.FAILED, t.DEADLINE),
    (TaskDeadlock, t.FAILED, t.DEADLOCK),
)
"""Errors of a task with its state and kind; any other error is the task's own."""
OPEN = ""
WAS_CANCELLED = "cancelled before it was done"
"""The error of a cancelled task."""


@dataclass(slots=True)
class Row:
    """One picture of a batch, as one task."""

    task: str
    """The id that the caller knows, 32 hex digits. It stays when the task is submitted again."""
    image: str
    outcome: str = OPEN
    """done, failed or cancelled; empty while it is open."""
    kind: str = ""
    error: str = ""
    worker: str = ""
    attempts: int = 0
    present: str = ""
    """The id under which a new gateway submitted it again; empty: never."""

    @property
    def id(self) -> str:
        """The id that the cluster's history knows."""
        return self.present or self.task


@dataclass(slots=True)
class BatchRecord:
    """A batch; times are seconds since 1970."""

    id: str
    created: float
    steps: list[Step]
    rows: list[Row]
    finished: float | None = None
    resubmitted: int = 0
    """How many of its tasks a new gateway had to submit again."""

    @property
    def is_open(self) -> bool:
        """Whether a task has no outcome yet."""
        return any(row.outcome == OPEN for row in self.rows)

    def take(self, row: Row, error: BaseException | None, worker: str, attempts: int, now: float) -> None:
        """Note the outcome of a task: done without ``error``. The first outcome counts."""
        if row.outcome != OPEN:
            return
        row.worker, row.attempts = worker, attempts
        if error is None:
            row.outcome = t.DONE
        else:
            row.outcome, row.kind = next(
                ((state, kind) for error_type, state, kind in _FAILURES if isinstance(error, error_type)),
                (t.FAILED, t.ERROR),
            )
            row.error = str(error) or (WAS_CANCELLED if row.outcome == t.CANCELLED else "")
        if not self.is_open:
            self.finished = now

    def counts(self) -> Counter[str]:
        """Return how many tasks are open, done, failed and cancelled."""
        return Counter(row.outcome or "open" for row in self.rows)

    def status(self) -> str:
        """Return running, done (all results are there), failed (some are not) or cancelled."""
        counts = self.counts()
        if counts["open"]:
            return "running"
        if counts[t.FAILED]:
            return t.FAILED
        return t.CANCELLED if counts[t.CANCELLED] else t.DONE

    def answer(self, now: float) -> dict[str, Any]:
        """Return the batch for a caller: the course's fields, each task, the workers' shares."""
        done = [row for row in self.rows if row.outcome == t.DONE]
        seconds = (self.finished or now) - self.created
        shares = Counter(row.worker for row in done if row.worker)
        return {
            "batch_id": self.id,
            "status": self.status(),
            "method": "distributed",
            "processed_count": len(done),
            "image_count": len(self.rows),
            "filters_used": [name for name, _params in self.steps],
            "total_time": round(seconds, 6),
            "avg_time_per_image": round(seconds / len(done), 6) if done else None,
            "failed": [
                {
                    "index": number,
                    "image": row.image,
                    "task_id": row.task,
                    "kind": row.kind or row.outcome,
                    "error": row.error,
                }
                for number, row in enumerate(self.rows)
                if row.outcome in (t.FAILED, t.CANCELLED)
            ],
            "workers": [
                {"worker": name, "images": count, "share": round(count / len(done), 4)}
                for name, count in sorted(shares.items())
            ],
            "done_again": [
                {"task_id": row.task, "attempts": row.attempts} for row in self.rows if row.attempts > 1
            ],
            "resubmitted_by_a_new_gateway": self.resubmitted,
            "task_ids": [row.task for row in self.rows],
            "tasks": [
                {
                    "task_id": row.task,
                    "image": row.image,
                    "status": row.outcome or "open",
                    "result": f"/api/task/{row.task}/result/" if row.outcome == t.DONE else None,
                }
                for row in self.rows
            ],
            "links": {"batch": f"/api/batch/{self.id}/", "task": "/api/task/{task_id}/status/"},
        }

    def encode(self) -> str:
        """Return the batch as JSON for a store."""
        rows = [list(asdict(row).values()) for row in self.rows]
        return json.dumps([self.id, self.created, self.steps, rows, self.finished, self.resubmitted])


def decode(text: str | bytes) -> BatchRecord:
    """Return the batch in a store's JSON. Raises ValueError for anything else: a store is anybody's."""
    try:
        id, created, steps, rows, finished, resubmitted = json.loads(text)
        return BatchRecord(
            str(id),
            float(created),
            _steps(steps),
            [_row(row) for row in rows],
            None if finished is None else float(finished),
            int(resubmitted),
        )
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _steps(steps: Sequence[Any]) -> list[Step]:
    return [(str(name), dict(_mapping(params))) for name, params in steps]


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no mapping")
    return value


def _row(values: Sequence[Any]) -> Row:
    task, image, outcome, kind, error, worker, attempts, present = values
    texts = (task, image, outcome, kind, error, worker, present)
    if not all(isinstance(text, str) for text in texts) or outcome not in (
        OPEN,
        t.DONE,
        t.FAILED,
        t.CANCELLED,
    ):
        raise ValueError(f"{values!r} is no task of a batch")
    return Row(task, image, outcome, kind, error, worker, int(attempts), present)
