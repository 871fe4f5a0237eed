"""What happened in a cluster: the events, and a ``History`` that answers questions about them.

Reading order: ``events`` (one thing that happened, and its line of JSON), ``recording`` (``History``, all
questions), ``causes`` (why a task was sent out again), ``index`` (events sorted by what they are about),
``rows`` (ledger, story, intervals, throughput), ``recovery`` (what a fault cost), ``check`` (broken
promises), ``live`` (``LiveView``: the present state, event by event), ``excerpt`` (the part that is about
chosen tasks).

Pure, like all of the core: it takes events and lines, and reads no file and no clock.
"""

from __future__ import annotations

from labkit.core.history.check import Violation
from labkit.core.history.events import (
    ALIVE,
    BROKER_STARTED,
    BROKER_STOPPED,
    CANCELLED,
    DISPATCHED,
    DONE,
    DRAINING,
    DUPLICATE,
    FAILED,
    FAULT,
    GAP,
    JOINED,
    KINDS,
    LEFT,
    LOST,
    NO_DETAIL,
    OUTCOMES,
    POISONED,
    POLICY_ERROR,
    REFUSED,
    REJECTED,
    REQUEUED,
    STARTED,
    SUBMITTED,
    SUSPECT,
    TASK_KINDS,
    WORKER_KINDS,
    Event,
    decode_event,
    encode_event,
    encode_events,
)
from labkit.core.history.excerpt import excerpt
from labkit.core.history.live import LiveView, LiveWorker, Outage
from labkit.core.history.recording import History
from labkit.core.history.recovery import Recovery
from labkit.core.history.rows import Interval, LedgerRow, Sample, StoryRow, WorkerSpan, natural

__all__ = [
    "ALIVE",
    "BROKER_STARTED",
    "BROKER_STOPPED",
    "CANCELLED",
    "DISPATCHED",
    "DONE",
    "DRAINING",
    "DUPLICATE",
    "FAILED",
    "FAULT",
    "GAP",
    "JOINED",
    "KINDS",
    "LEFT",
    "LOST",
    "NO_DETAIL",
    "OUTCOMES",
    "POISONED",
    "POLICY_ERROR",
    "REFUSED",
    "REJECTED",
    "REQUEUED",
    "STARTED",
    "SUBMITTED",
    "SUSPECT",
    "TASK_KINDS",
    "WORKER_KINDS",
    "Event",
    "History",
    "Interval",
    "LedgerRow",
    "LiveView",
    "LiveWorker",
    "Outage",
    "Recovery",
    "Sample",
    "StoryRow",
    "Violation",
    "WorkerSpan",
    "decode_event",
    "encode_event",
    "encode_events",
    "excerpt",
    "natural",
]
