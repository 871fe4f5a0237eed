"""The numbers of the demo's display: where the batch and its workers stand, from the history as it grows.

A ``Progress`` reads a `LiveView` of the batch's tasks alone: tasks that warm the workers up do not count. All
its instants are seconds since the history's first event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from labkit.core import history as h
from labkit.core.history import History, LiveView, LiveWorker

SPAN_S = 1 / 30
"""The resolution of the results over time."""
KEEP_S = 600.0
SPARK = "▁▂▃▄▅▆▇█"


class Progress:
    """See the module's head. ``tasks`` are the batch's tasks: the name of its picture by each one's id."""

    def __init__(self, tasks: Mapping[str, str], workers: Collection[str]) -> None:
        self.tasks = dict(tasks)
        self.live = LiveView(of=self.tasks, span_s=SPAN_S, keep_s=KEEP_S)
        for name in workers:
            self.live.worker(name)
        self._began: float | None = None
        self._read = 0

    def read(self, history: History) -> None:
        """Take in the events that were added to ``history`` since the last call."""
        events = history.events
        for event in events[self._read :]:
            self.live.add(event)
            if self._began is None and self.live.open:
                self._began = self.live.since_began(event.at)
        self._read = len(events)

    @property
    def began(self) -> float:
        """When the first task of the batch was submitted; 0.0 before that."""
        return self._began or 0.0

    @property
    def now(self) -> float:
        """The instant of the latest event."""
        return self.live.since_began(self.live.latest_at)

    @property
    def workers(self) -> dict[str, LiveWorker]:
        """The workers by name."""
        return self.live.workers

    @property
    def done(self) -> int:
        """How many of the batch's tasks have their result."""
        return self.live.counts[h.DONE]

    @property
    def failed(self) -> int:
        """How many of the batch's tasks have failed."""
        return self.live.counts[h.FAILED]

    @property
    def ended(self) -> set[str]:
        """The tasks of the batch that have an outcome."""
        return self.live.ended

    @property
    def waiting(self) -> int:
        """How many of the batch's tasks are with no worker."""
        return len(self.tasks) - len(self.ended) - sum(len(worker.held) for worker in self.workers.values())

    def per_s(self, worker: str = "") -> float:
        """Return the results of the last second: a worker's, or all."""
        spans = round(1 / SPAN_S)
        first = self.live.results.index(self.now) + 1 - spans
        return float(sum(self.live.results.columns(first, spans, worker=worker)))

    def recent(self, worker: str, columns: int, column_s: float) -> list[int]:
        """Return a worker's latest results in columns of ``column_s`` seconds; the last one ends now."""
        width = round(column_s / SPAN_S)
        first = self.live.results.index(self.now) + 1 - columns * width
        return self.live.results.columns(first, columns, width, worker)

    def results(self, columns: int) -> tuple[float, list[int]]:
        """Return the results since the batch began: the length of a column in seconds, and its columns.

        There are at most ``columns`` of them, and none is shorter than a tenth of a second.
        """
        took_s = max(self.now - self.began, 0.001)
        width = 3
        while took_s / (width * SPAN_S) > columns:
            width += 1
        shown = max(1, int(took_s / (width * SPAN_S)))
        first = self.live.results.index(self.began)
        return width * SPAN_S, self.live.results.columns(first, shown, width)

    def faults(self) -> list[tuple[float, str, str]]:
        """Return what was done to a worker: when, what, and to which."""
        found = []
        for event in self.live.faults:
            fault, target = str(event.detail.get("fault", "")), str(event.detail.get("target", ""))
            if target in self.workers:
                found.append((self.live.since_began(event.at), fault, target))
        return found

    def outages(self) -> list[tuple[float, float]]:
        """Return when a worker was lost and when it was back; an outage that lasts ends now."""
        return [
            (
                self.live.since_began(outage.begin),
                self.now if outage.end is None else self.live.since_began(outage.end),
            )
            for outage in self.live.outages()
        ]


def spark(counts: Sequence[int], most: int, marks: str = SPARK) -> str:
    """Return ``counts`` as a line of bars, the highest for ``most``; a count of 0 is a space."""
    if most <= 0:
        return " " * len(counts)
    return "".join(
        marks[min(round(count / most * len(marks)), len(marks)) - 1] if count else " " for count in counts
    )
