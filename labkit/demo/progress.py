"""Where a run stands, from the history as far as it has been written: the live view's numbers.

A ``Progress`` reads each event once, as it comes. It counts the tasks of the batch only; tasks that warmed
the workers up before are none of its business. All instants are seconds since the history's first event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from labkit.core import history as h
from labkit.core.history import Event, History

SPARK = "▁▂▃▄▅▆▇█"


@dataclass
class WorkerProgress:
    """One worker, as the history shows it."""

    name: str
    state: str = "absent"
    """absent, ready, suspect, draining, lost, left."""
    since: float = 0.0
    """When this state began."""
    computing: str = ""
    """The task that it has started and not ended."""
    in_flight: dict[str, None] = field(default_factory=dict)
    """Tasks that were sent to it and have not ended, in their order."""
    done_at: list[float] = field(default_factory=list)
    """When each of its results was delivered."""
    fault: str = ""
    """What was done to it last, until it is there again: kill, start."""
    fault_at: float = 0.0


class Progress:
    """See the module's head. ``tasks`` are the batch's tasks: the name of its picture by each one's id."""

    def __init__(self, tasks: Mapping[str, str], workers: Collection[str]) -> None:
        self.workers = {name: WorkerProgress(name) for name in workers}
        self.tasks = dict(tasks)
        self.ended: set[str] = set()
        self.failed = 0
        self.done_at: list[float] = []
        self.now = 0.0
        """The instant of the latest event."""
        self.began = 0.0
        """When the first task of the batch was submitted."""
        self.faults: list[tuple[float, str, str]] = []
        """What was done to a worker: when, what, to whom."""
        self._outages: list[tuple[float, float | None]] = []
        self._read = 0
        self._began_at = 0.0

    def read(self, history: History) -> None:
        """Take in what has been added to ``history``."""
        self._began_at = history.began_at
        events = history.events
        for event in events[self._read :]:
            self._take(event, event.at - self._began_at)
        self._read = len(events)

    @property
    def done(self) -> int:
        """How many of the batch's tasks have their result."""
        return len(self.done_at)

    @property
    def waiting(self) -> int:
        """How many of the batch's tasks are with no worker."""
        return (
            len(self.tasks) - len(self.ended) - sum(len(worker.in_flight) for worker in self.workers.values())
        )

    def outages(self) -> list[tuple[float, float]]:
        """Return the times in which a worker was lost; one that goes on ends now."""
        return [(begin, self.now if end is None else end) for begin, end in self._outages]

    def _take(self, event: Event, t: float) -> None:
        self.now = max(self.now, t)
        if event.kind == h.FAULT:
            self._take_fault(event, t)
        if event.kind in h.WORKER_KINDS:
            self._take_state(event, t)
        if event.task not in self.tasks:
            return
        worker = self.workers.setdefault(event.worker, WorkerProgress(event.worker)) if event.worker else None
        if event.kind == h.SUBMITTED and not self.began:
            self.began = t
        elif event.kind == h.DISPATCHED and worker is not None:
            worker.in_flight[event.task] = None
        elif event.kind == h.STARTED and worker is not None:
            worker.computing = event.task
        elif event.kind == h.REQUEUED or event.kind in h.OUTCOMES:
            self._let_go(event.task)
        if event.kind in h.OUTCOMES:
            self.ended.add(event.task)
        if event.kind == h.DONE and worker is not None:
            worker.done_at.append(t)
            self.done_at.append(t)
        elif event.kind == h.FAILED:
            self.failed += 1

    def _take_fault(self, event: Event, t: float) -> None:
        worker = self.workers.get(str(event.detail.get("target", "")))
        if worker is not None:
            worker.fault, worker.fault_at = str(event.detail.get("fault", "")), t
            self.faults.append((t, worker.fault, worker.name))

    def _take_state(self, event: Event, t: float) -> None:
        worker = self.workers.setdefault(event.worker, WorkerProgress(event.worker))
        state = {h.JOINED: "ready", h.ALIVE: "ready", h.REFUSED: worker.state}.get(event.kind, event.kind)
        if state != worker.state:
            worker.state, worker.since = state, t
        if event.kind in (h.JOINED, h.LOST, h.LEFT):
            worker.in_flight.clear()
            worker.computing = ""
        if event.kind == h.LOST:
            self._outages.append((t, None))
        elif event.kind == h.JOINED:
            worker.fault = ""
            self._outages = [(begin, t if end is None else end) for begin, end in self._outages]

    def _let_go(self, task: str) -> None:
        for worker in self.workers.values():
            worker.in_flight.pop(task, None)
            if worker.computing == task:
                worker.computing = ""


def per_s(done_at: list[float], now: float, over_s: float = 1.0) -> float:
    """Return the results per second in the ``over_s`` seconds before ``now``."""
    return sum(now - over_s < t <= now for t in done_at) / over_s


def heights(done_at: list[float], since: float, until: float, columns: int) -> list[int]:
    """Return how many results fell into each of ``columns`` equal parts of a period."""
    counts = [0] * columns
    width = (until - since) / columns
    for t in done_at:
        if since <= t < until:
            counts[min(int((t - since) / width), columns - 1)] += 1
    return counts


def spark(counts: list[int], most: int, marks: str = SPARK) -> str:
    """Return ``counts`` as a line of little bars, the highest for ``most``; nothing is a space."""
    if most <= 0:
        return " " * len(counts)
    return "".join(
        marks[min(round(count / most * len(marks)), len(marks)) - 1] if count else " " for count in counts
    )
