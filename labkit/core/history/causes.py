"""Why an attempt ended without an outcome: one cause and its words for every face.

A ``requeued`` event says what the broker did (``lost``, ``left``, ``hung``, ``returned``). The events around
it say why: the loss before it, the command that a person gave, a worker that was draining. ``Causes`` reads
them in their order and names the cause of each requeue.

Rules:

* A cause comes from events, never from a count: a task with two attempts may have lost its worker, or may
  have been given back by one that was asked to stop.
* Where the events do not show it, the cause is the broker's own word, or ``UNKNOWN``.

Guarantee: no sequence of events raises an exception, and memory is bounded (``MOST_NAMES``).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from labkit.core.errors import N_
from labkit.core.history import events as e
from labkit.core.history.events import Event

# --- how a worker was lost (``cause`` of ``lost``) ----------------------------------------------------------

CLOSED: Final = "closed"
SILENT: Final = "silent"
LEASE: Final = "lease"
REJOINED: Final = "rejoined"

LOSSES: Final = {
    CLOSED: N_("its connection closed"),
    SILENT: N_("it was silent for too long"),
    LEASE: N_("a task outran its lease and no report came"),
    "stale": N_("its connection was no longer known"),
    REJOINED: N_("it said hello anew"),
}
"""How the broker noticed a loss; *it* is the worker."""

# --- why an attempt was requeued ----------------------------------------------------------------------------

KILLED: Final = "killed"
"""A command killed its worker."""
LOST: Final = "lost"
"""Its worker was lost; the events do not show how."""
STOPPING: Final = "stopping"
"""Its worker was asked to stop, and was lost before it had left."""
RETURNED: Final = "returned"
"""Its worker was asked to stop, and gave it back before it began."""
NOT_TAKEN: Final = "not_taken"
"""Its worker gave it back without being asked to stop."""
DRAIN_OVER: Final = "drain_over"
"""Its worker was asked to stop, and left before the attempt was done."""
LEFT: Final = "left"
"""Its worker said goodbye; the events do not show why."""
HUNG: Final = "hung"
"""It outran its lease, and its worker reported so."""
HUNG_BESIDE: Final = "hung_beside"
"""Its worker ended because another of its tasks hung."""
NEW_BROKER: Final = "new_broker"
"""The broker that had dispatched it is gone; its client submitted the task to the next one."""
UNKNOWN: Final = "unknown"

REASONS: Final = {
    KILLED: N_("its worker was killed"),
    CLOSED: N_("its worker was lost, because its connection closed"),
    SILENT: N_("its worker was lost, because it was silent for too long"),
    LEASE: N_("its worker was lost, because a task outran its lease and no report came"),
    REJOINED: N_("its worker was lost, because it said hello anew"),
    LOST: N_("its worker was lost"),
    STOPPING: N_("its worker was lost while it was stopping"),
    RETURNED: N_("its worker was asked to stop and gave it back before it began"),
    NOT_TAKEN: N_("its worker gave it back before it began"),
    DRAIN_OVER: N_("its worker was asked to stop and left before it was done"),
    LEFT: N_("its worker left before it was done"),
    HUNG: N_("it outran its lease"),
    HUNG_BESIDE: N_("its worker ended, because another task outran its lease there"),
    NEW_BROKER: N_("the broker that had it is gone, and the next one got it"),
    UNKNOWN: N_("the history does not show why"),
}
"""Why an attempt ended; *it* is the task."""

REASONS_OF_MANY: Final = {
    KILLED: N_("their workers were killed"),
    CLOSED: N_("their workers were lost, because their connections closed"),
    SILENT: N_("their workers were lost, because they were silent for too long"),
    LEASE: N_("their workers were lost, because tasks outran their leases and no reports came"),
    REJOINED: N_("their workers were lost, because they said hello anew"),
    LOST: N_("their workers were lost"),
    STOPPING: N_("their workers were lost while they were stopping"),
    RETURNED: N_("their workers were asked to stop and gave them back before they began"),
    NOT_TAKEN: N_("their workers gave them back before they began"),
    DRAIN_OVER: N_("their workers were asked to stop and left before they were done"),
    LEFT: N_("their workers left before they were done"),
    HUNG: N_("they outran their leases"),
    HUNG_BESIDE: N_("their workers ended, because other tasks outran their leases there"),
    NEW_BROKER: N_("the broker that had them is gone, and the next one got them"),
    UNKNOWN: N_("the history does not show why"),
}
"""The same of several tasks, each with one such attempt."""

LOST_WORKERS: Final = frozenset({KILLED, CLOSED, SILENT, LEASE, REJOINED, LOST, STOPPING})
"""The causes that are the loss of a worker."""

MOST_NAMES = 4096
"""Workers that are remembered; of a name beyond them, only the broker's own word is known."""


class _Worker:
    __slots__ = ("draining", "fault", "hung", "loss")

    def __init__(self) -> None:
        self.draining = False
        self.hung = False
        self.fault = ""
        """The last command given to it since it joined."""
        self.loss = ""
        """How it was lost; empty while it is not."""


class Causes:
    """See the module's head."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def add(self, event: Event) -> str:
        """Take in an event, in its order; return the cause if it is a requeue, and otherwise ""."""
        kind, detail = event.kind, event.detail
        if kind == e.REQUEUED:
            return self._cause(event)
        if kind == e.FAULT:
            self._worker(str(detail.get("target", ""))).fault = str(detail.get("fault", ""))
        elif kind == e.JOINED:
            self._workers.pop(event.worker, None)
        elif kind == e.DRAINING:
            self._worker(event.worker).draining = True
        elif kind == e.LOST:
            self._worker(event.worker).loss = str(detail.get("cause", ""))
        elif kind == e.FAILED and detail.get("code") == "HUNG":
            self._worker(event.worker).hung = True
        return ""

    def has_hung(self, worker: str) -> bool:
        """Return whether a task hung in this worker since it joined."""
        known = self._workers.get(worker)
        return known is not None and known.hung

    def _worker(self, name: str) -> _Worker:
        worker = self._workers.get(name)
        if worker is None:
            worker = _Worker()
            if len(self._workers) < MOST_NAMES:
                self._workers[name] = worker
        return worker

    def _cause(self, event: Event) -> str:
        word = event.detail.get("cause")
        worker = self._worker(event.worker)
        was_to_stop = worker.draining or worker.fault == "stop"
        if word == "hung":
            worker.hung = True
            return HUNG
        if word == "returned":
            return RETURNED if was_to_stop else NOT_TAKEN
        if word == "left":
            return HUNG_BESIDE if worker.hung else DRAIN_OVER if was_to_stop else LEFT
        if word != "lost":
            return UNKNOWN
        if worker.loss == CLOSED and worker.fault == "kill":
            return KILLED
        if was_to_stop:
            return STOPPING
        return worker.loss if worker.loss in REASONS else LOST


class SentAgain:
    """Which of the tasks in ``of`` were sent to a worker more than once, and why each time.

    ``add`` takes the events in their order. Memory is bounded by the tasks in ``of``.
    """

    def __init__(self, of: Container[str]) -> None:
        self.causes: dict[str, list[str]] = {}
        """By task, the causes in the order of its attempts; only tasks that were sent again."""
        self.ended: set[str] = set()
        """Tasks with an outcome."""
        self._of = of
        self._reader = Causes()
        self._with_a_worker: set[str] = set()
        self._void: dict[str, str] = {}  # why the last attempt ended, until the next one is sent

    def add(self, event: Event) -> None:
        """Take in one event."""
        if event.task and event.task not in self._of:
            if event.kind in (e.REQUEUED, e.FAILED):
                self._reader.add(event)  # it shows what became of its worker
            return
        cause = self._reader.add(event)
        if cause:
            self._with_a_worker.discard(event.task)
            self._void[event.task] = cause
        elif event.kind == e.DISPATCHED:
            if (why := self._void.pop(event.task, "")) or event.task in self._with_a_worker:
                self.causes.setdefault(event.task, []).append(why or UNKNOWN)
            self._with_a_worker.add(event.task)
        elif event.kind == e.BROKER_STARTED:
            self._void |= dict.fromkeys(self._with_a_worker, NEW_BROKER)
            self._with_a_worker.clear()
        elif event.kind in e.OUTCOMES:
            self._with_a_worker.discard(event.task)
            self._void.pop(event.task, None)
            self.ended.add(event.task)
