"""A recorded run, and the questions that can be asked about it.

A history is built from events, extended while a run goes on, or read from the lines of an event file. A
simulated run, a local one, one in containers and a recorded class all answer alike, because a history
contains only events.

Rules:

* **Every instant in an answer is seconds since the first event**; every duration is seconds. The broker's own
  clock readings stay in ``events``.
* A recording with holes is still a recording: unknown kinds are kept and counted, a last line that was torn
  by a crash of the recorder is left out, and ``has_gaps`` is true if any event is missing.

Guarantee: no answer changes the history, and none depends on anything but the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from labkit.core.errors import ProtocolError
from labkit.core.history import check, recovery, rows
from labkit.core.history.events import BROKER_STOPPED, GAP, Event, decode_event
from labkit.core.history.index import Index


class History:
    """All events in order. Adding costs constant time per event; questions do not change the history."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.torn = False
        """Whether the last line read was cut off, as when the recorder is killed while it writes."""
        self._index = Index()
        self.extend(events)

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> History:
        """Return the history of an event file's lines, whole or not.

        Blank lines are skipped. A last line that is not an event sets ``torn``; any other such line becomes a
        gap.
        """
        history = cls()
        history.extend(history._decoded(lines))
        return history

    def _decoded(self, lines: Iterable[str]) -> Iterable[Event]:
        unreadable = 0  # lines since the last event
        at = 0.0
        for line in lines:
            if not line.strip():
                continue
            try:
                event = decode_event(line)
            except ProtocolError:
                unreadable += 1  # counted: it becomes a gap, or the torn end
                continue
            if unreadable:
                yield Event(at or event.at, GAP, detail={"missing": unreadable})
                unreadable = 0
            at = event.at
            yield event
        self.torn = unreadable > 0
        if unreadable > 1:
            yield Event(at, GAP, detail={"missing": unreadable - 1})

    def extend(self, events: Iterable[Event]) -> None:
        """Append events, in the order in which they happened."""
        self._index.add(events)

    def __len__(self) -> int:
        return len(self._index.events)

    # --- the recording itself -------------------------------------------------------------------------------

    @property
    def events(self) -> Sequence[Event]:
        """All events in order, with the broker's own clock readings; do not change it."""
        return self._index.events

    @property
    def began_at(self) -> float:
        """The broker's clock at the first event: the zero of every answer. 0.0 while there is none."""
        return self._index.events[0].at if self._index.events else 0.0

    @property
    def duration_s(self) -> float:
        """Seconds from the first event to the last."""
        return self._index.last_at - self.began_at if self._index.events else 0.0

    @property
    def has_gaps(self) -> bool:
        """Whether anything between the first and the last event is missing."""
        return bool(self._index.gaps)

    def gaps(self) -> list[tuple[float, int]]:
        """Return (instant, events missing) of each gap; 0 events: the number is unknown."""
        return [
            (gap.at - self.began_at, missing if isinstance(missing := gap.detail.get("missing"), int) else 0)
            for gap in self._index.gaps
        ]

    def counts(self) -> dict[str, int]:
        """Return how many events there are of each kind that occurred."""
        return dict(self._index.counts)

    def faults(self) -> list[tuple[float, str, str]]:
        """Return (instant, fault, target) of everything that was done to the cluster on purpose."""
        return [
            (
                fault.at - self.began_at,
                str(fault.detail.get("fault", "")),
                str(fault.detail.get("target", "")),
            )
            for fault in self._index.faults
        ]

    # --- tasks ----------------------------------------------------------------------------------------------

    def story(self, task: str) -> list[rows.StoryRow]:
        """Return everything about one task in order, with the losses and faults of its workers meanwhile.

        An empty list for an unknown task. ``find`` completes a shortened id.
        """
        return rows.story(self._index, task, self.began_at)

    def find(self, prefix: str) -> list[str]:
        """Return the ids of the tasks that begin like this, in the order of their first events."""
        return [task for task in self._index.tasks if task.startswith(prefix)]

    def ledger(self) -> list[rows.LedgerRow]:
        """Return one row per accepted task, in the order of submission: attempts, workers, winner, times."""
        return rows.ledger(self._index, self.began_at)

    def busy(self) -> list[tuple[float, float]]:
        """Return the spans with at least one open task."""
        return [
            (begin - self.began_at, (self._index.last_at if end is None else end) - self.began_at)
            for begin, end in self._index.busy
        ]

    # --- speed ----------------------------------------------------------------------------------------------

    def throughput(
        self, window_s: float, since: float = 0.0, until: float | None = None
    ) -> list[rows.Sample]:
        """Return results delivered per window of about ``window_s`` from ``since`` to ``until``.

        Only results count (``done``), each once, at the instant of its delivery. The period is cut into equal
        windows that fill it exactly, so no window reaches beyond the recording, and none is so short that one
        result makes a peak. Idle time counts as zero. An empty list if the period has no length.
        """
        until = self.duration_s if until is None else until
        return rows.throughput(self._index, window_s, since, until, self.began_at)

    def share(self, since: float = 0.0, until: float | None = None) -> dict[str, int]:
        """Return results per worker, from ``since`` up to but not including ``until``; None: all to the end.

        Workers that were there in this period and delivered nothing have 0. Names are in natural order
        (worker-2 before worker-10).
        """
        return rows.share(self._index, since, float("inf") if until is None else until, self.began_at)

    # --- workers --------------------------------------------------------------------------------------------

    def intervals(self) -> dict[str, list[rows.Interval]]:
        """Return per worker what ran on it and in which slot, by start: the bars of a Gantt chart.

        An attempt runs from its reported start to its result, failure, loss or withdrawal. If the start was
        reported late, it runs from its result back by the compute time that the worker measured. Attempts
        that only waited at the worker are left out. An attempt that has not ended lasts until the last event.
        """
        return rows.intervals(self._index, self.began_at)

    def slots(self) -> dict[str, int]:
        """Return how many tasks each worker computes at once at most; names in natural order."""
        names = sorted(self._index.workers, key=rows.natural)
        return {name: self._index.workers[name].slots for name in names}

    def workers(self) -> dict[str, list[rows.WorkerSpan]]:
        """Return per worker how the broker saw it over time: ready, suspect, draining, lost, left, unknown.

        ``lost`` and ``left`` last until it joins again; ``intervals`` shows when a ready worker was busy.
        """
        return rows.states(self._index, self.began_at)

    # --- faults and promises --------------------------------------------------------------------------------

    def recoveries(self) -> list[recovery.Recovery]:
        """Return what each fault cost, as a chain of instants; crashes without an injected fault included.

        See ``labkit.core.history.recovery`` for what each link means and how "back at 95 %" is measured.
        """
        return recovery.recoveries(self._index, self.began_at)

    def check(self, ended: bool | None = None) -> list[check.Violation]:
        """Return the promises that this history shows to be broken; an empty list if there are none.

        ``ended``: whether every task should have its outcome by now; None asks the recording (its last event
        is the broker's stop). There are no false alarms, even with gaps; see ``labkit.core.history.check``.
        """
        if ended is None:
            ended = bool(self._index.events) and self._index.events[-1].kind == BROKER_STOPPED
        return check.check(self._index.events, self.began_at, ended)
