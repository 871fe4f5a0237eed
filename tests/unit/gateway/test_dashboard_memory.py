"""A class's hour, played fast: what the gateway keeps does not grow."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections import deque
from collections.abc import Iterator
from typing import cast

from labkit.cluster.status import ClusterStatus
from labkit.core import history as h
from labkit.core.history import Event, decode_event, encode_events
from labkit.gateway.event_ring import EventRing
from labkit.gateway.last_fault import LastFault
from labkit.gateway.moments import LOG_LINES, SPAN_S, Present, Sample, Seen, moment
from labkit.gateway.task_book import MOST_ENDED, TaskBook
from labkit.gateway.timeline import MOST_ARROWS, MOST_SPANS, Timeline
from labkit.panel.feed import Feed
from tests.tools.panel_moments import status, worker

PER_S = 6
"""Tasks in each second that is played. With a thousand there are no more spans: those of a quarter
of a second are merged."""

FULL_S = 2400
"""By then the log and the list of faults hold as much as they ever do."""


def second(t: int) -> Iterator[Event]:
    """Yield what happens in one second of the class; each minute a worker is killed and comes back."""
    if t == 0:
        yield Event(0.0, h.BROKER_STARTED, detail={"epoch": "e1"})
        for n in (1, 2, 3):
            yield Event(0.0, h.JOINED, "", 0, f"worker-{n}", {"epoch": str(n)})
    victim = f"worker-{t // 60 % 3 + 1}"
    for n in range(PER_S):
        at, task, name = t + n / PER_S, f"{t * PER_S + n:032x}", f"worker-{n % 3 + 1}"
        yield Event(at, h.SUBMITTED, task, detail={"job": "labkit.jobs:add", "client": "c", "bytes": 9})
        yield Event(at, h.DISPATCHED, task, 1, name)
        if t % 60 == 30 and n == 3:
            yield Event(at, h.FAULT, detail={"fault": "kill", "target": victim})
            yield Event(at, h.LOST, "", 0, victim, {"cause": "closed"})
            yield Event(at, h.JOINED, "", 0, victim, {"epoch": f"{t}"})
            if name == victim:
                yield Event(at, h.REQUEUED, task, 1, name, {"cause": "lost"})
                yield Event(at, h.DISPATCHED, task, 2, name)
        yield Event(at + 0.01, h.DONE, task, 1, name, {"compute_s": 0.005, "bytes": 9})


def test_memory_of_a_class_is_flat_once_the_log_is_full() -> None:
    present = Present(Feed(SPAN_S, LOG_LINES), Timeline(SPAN_S), LastFault(), _samples(), 0)
    told = cast(ClusterStatus, status(*(worker(f"worker-{n}") for n in (1, 2, 3))))
    seen, largest, before = Seen(), 0, 0
    tracemalloc.start()
    try:
        for t in range(3600):
            for event in second(t):
                present.last_fault.add(event, event.at, present.feed.live)
                present.timeline.add(event, event.at)
                present.feed.add(event, event.at, event.at)
            present.feed.set_clock(t + 1.0)
            present.samples.append(Sample(float(t), 0, 3, 0.0, 0.0, 0.01, 0.02))
            if t % 6:
                continue
            made = moment(told, present, seen, t + 1.0, t + 1.0, {})
            seen = made.seen
            assert len(made.body["spans"]) <= 7 * PER_S and len(made.body["log"]) <= 20
            if t == FULL_S:
                before = tracemalloc.get_traced_memory()[0]
            elif t > FULL_S:
                largest = max(largest, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(present.timeline.spans()) <= MOST_SPANS and len(present.timeline.arrows()) <= MOST_ARROWS
    assert largest < 1.1 * before, (largest, before)


def recorded(t: int) -> str:
    """Return a second with a thousand tasks, as a broker writes it down."""
    events = []
    for n in range(1000):
        at, name = t + n / 1000, f"worker-{n % 3 + 1}"
        task = hashlib.blake2b(f"{t}/{n}".encode(), digest_size=16).hexdigest()
        events += [
            Event(at, h.SUBMITTED, task, detail={"job": "labkit.jobs:echo", "client": "c", "bytes": 9}),
            Event(at + 1e-4, h.DISPATCHED, task, 1, name),
            Event(at + 2e-4, h.STARTED, task, 1, name),
            Event(at + 7e-4, h.DONE, task, 1, name, {"compute_s": 0.0005, "bytes": 9}),
        ]
    return encode_events(events)


def test_tasks_and_events_of_a_class_take_few_mib() -> None:
    """The gateway has 90 MiB, of which its packages take 50 and its own engines 15."""
    book, ring = TaskBook(), EventRing()
    full_s = MOST_ENDED // 1000 + 1
    used = []
    seconds = [recorded(t) for t in range(full_s + 3)]
    tracemalloc.start()
    try:
        for text in seconds:
            events = [decode_event(line) for line in text.splitlines()]
            book.extend(events)
            ring.extend(events)
            del events
            used.append(tracemalloc.get_traced_memory()[0] / (1 << 20))
    finally:
        tracemalloc.stop()
    assert len(book) == MOST_ENDED
    assert used[-1] < 18.0, used
    assert used[-1] < 1.05 * used[full_s], used


def _samples() -> deque[Sample]:
    return deque(maxlen=SPAN_S + 1)
