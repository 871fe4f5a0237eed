"""Follows the cluster's history once for all readers: what runs now, the latest tasks, events, figures.

A thread reads ``events.jsonl`` a few times a second and hands each event to the pure parts (``LiveView``,
``TaskBook``, ``EventRing``, the figures). All of them are bounded, however long the cluster lives. Readers in
the event loop take the lock for a moment, and wait for news without polling.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.core import history as h
from labkit.core.history import Event
from labkit.gateway.event_ring import EventRing, Resumed
from labkit.gateway.figures import Histogram, Window
from labkit.gateway.last_fault import LastFault
from labkit.gateway.moments import LOG_LINES, SPAN_S, Present, Sample
from labkit.gateway.task_book import Entry, TaskBook
from labkit.gateway.task_story import story
from labkit.gateway.timeline import Timeline
from labkit.panel.feed import Feed

if TYPE_CHECKING:
    from labkit.cluster.history_file import EventFile

LOOK_S = 0.05
PIECE = 2_000
"""Events that are taken in at once; between two pieces readers get their turn."""
SAMPLE_S = 1.0


class Latencies(NamedTuple):
    """Seconds of the tasks that ended in the last 10 s; None without any."""

    waiting_p50: float | None
    waiting_p95: float | None
    service_p50: float | None
    service_p95: float | None


class Live:
    """The present of one cluster; see the module's head. ``close`` ends the thread."""

    def __init__(self, events: EventFile) -> None:
        self._file = events
        self._lock = threading.Lock()
        self._feed = Feed(SPAN_S, LOG_LINES)
        self._view = self._feed.live
        self._timeline = Timeline(SPAN_S)
        self._last_fault = LastFault()
        self._samples: deque[Sample] = deque(maxlen=SPAN_S + 1)
        self._tasks = TaskBook()
        self._ring = EventRing()
        self._waiting, self._service = Window(), Window()
        self._joins: Counter[str] = Counter()
        self.waiting_histogram, self.service_histogram = Histogram(), Histogram()
        self._read_at = time.monotonic()
        self._closing = threading.Event()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._thread = threading.Thread(target=self._run, name="labkit-gateway-live", daemon=True)
        self._thread.start()

    # --- for readers ----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the broker's present second, as well as the events show it."""
        with self._lock:
            return self._now()

    def task(self, id: str) -> dict[str, Any] | None:
        """Return what is known of a task, ready for JSON; None if nothing is."""
        with self._lock:
            entry = self._tasks.find(id)
            return None if entry is None else entry.as_json(self._now())

    def story(self, id: str) -> dict[str, Any] | None:
        """Return a task's story in the reader's language; None if the task is not known."""
        with self._lock:
            entry = self._tasks.find(id)
            if entry is None:
                return None
            return story(entry, self._now(), self._view.began_at or 0.0)

    @contextmanager
    def present(self) -> Iterator[Present]:
        """Give what the history shows; it does not change in the block."""
        with self._lock:
            yield Present(self._feed, self._timeline, self._last_fault, self._samples, self._tasks.twice)

    def counts(self) -> Counter[str]:
        """Return how many events of each kind there were."""
        with self._lock:
            return Counter(self._view.counts)

    def results(self) -> dict[str, int]:
        """Return the results that each worker has delivered."""
        with self._lock:
            return {name: worker.done for name, worker in self._view.workers.items()}

    def restarts(self) -> dict[str, int]:
        """Return how often each worker has joined again."""
        with self._lock:
            return {name: count - 1 for name, count in self._joins.items()}

    def latencies(self) -> Latencies:
        """Return the percentiles of waiting and of service in the last seconds."""
        with self._lock:
            now = self._now()
            return self._latencies(now)

    def _latencies(self, now: float) -> Latencies:
        shares = (0.5, 0.95)
        return Latencies(*self._waiting.percentiles(now, shares), *self._service.percentiles(now, shares))

    def resume(self, last_id: str) -> tuple[Resumed, int]:
        """Return what a reader of events lacks, and the number of the latest event."""
        with self._lock:
            return self._ring.resume(last_id), self._ring.latest

    def after(self, number: int) -> Resumed:
        """Return the events after the one with this number."""
        with self._lock:
            return self._ring.after(number)

    @contextmanager
    def news(self) -> Iterator[asyncio.Event]:
        """Give an asyncio event that is set whenever something has happened; its user clears it."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiters.add(waiter)
        try:
            yield waiter[1]
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            events = self._file.stream()
            while piece := list(islice(events, PIECE)):
                self._take(piece)
                self._tell()
            self._sample()
            if self._closing.wait(LOOK_S):
                return

    def _take(self, piece: list[Event]) -> None:
        monotonic, wall = time.monotonic(), time.time()
        with self._lock:
            for event in piece:
                t = event.at - (event.at if self._view.began_at is None else self._view.began_at)
                self._last_fault.add(event, t, self._view)
                self._timeline.add(event, t)
                self._feed.add(event, monotonic, wall)
                if event.kind == h.JOINED:
                    self._joins[event.worker] += 1
            self._feed.set_clock(monotonic)
            for entry in self._tasks.extend(piece):
                self._measure(entry)
            self._ring.extend(piece)
            self._read_at = time.monotonic()

    def _sample(self) -> None:
        """Note the figures of the second that has passed."""
        with self._lock:
            t = self._feed.now(time.monotonic())
            if self._view.began_at is None or (self._samples and t < self._samples[-1].t + SAMPLE_S):
                return
            in_flight = sum(len(worker.held) for worker in self._view.workers.values())
            waiting = max(0, len(self._view.open) - in_flight)
            self._samples.append(Sample(round(t, 3), waiting, in_flight, *self._latencies(self._now())))

    def _measure(self, entry: Entry) -> None:
        """Take in how long a task that has ended waited, and how long its last attempt took."""
        if entry.ended_at is None or not entry.attempts:
            return
        waited_s = max(0.0, entry.attempts[0].dispatched_at - entry.submitted_at)
        service_s = max(0.0, entry.ended_at - entry.attempts[-1].dispatched_at)
        for window, histogram, seconds in (
            (self._waiting, self.waiting_histogram, waited_s),
            (self._service, self.service_histogram, service_s),
        ):
            window.add(entry.ended_at, seconds)
            histogram.add(seconds)

    def _tell(self) -> None:
        with self._lock:
            waiters = list(self._waiters)
        for loop, event in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def _now(self) -> float:
        return self._view.latest_at + max(0.0, time.monotonic() - self._read_at)
