"""One moment of a cluster for the dashboard's page, ready for JSON. Pure.

The page gets everything of the last minute once (``Seen()``), then only what is new: spans, arrows, log lines
and samples that come after those it has seen. The cards, the targets and the headline are sent each time;
they are small. Texts are in the reader's language. Instants are seconds since the history's first event.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from labkit.cluster.processes import API
from labkit.cluster.status import ClusterStatus, WorkerRow
from labkit.cluster.status_text import ready_in_words, workers_to_show
from labkit.core import history as h
from labkit.core.history import natural
from labkit.gateway.last_fault import LastFault
from labkit.gateway.promises import Compared, Measured, heading, links, promises
from labkit.gateway.timeline import Arrow, Span, Timeline
from labkit.panel.feed import Feed, LogLine, Second
from labkit.panel.view import Card, moment_of
from labkit.support.i18n import _
from labkit.support.palette import worker_colour

SPAN_S = 60
"""Seconds that the charts show."""
LOG_LINES = 150
MOST_NEW_LINES = 100
"""Log lines in one moment: of more, the latest. A kill may requeue hundreds of tasks at once."""
MOST_RUNNING = 64


class Sample(NamedTuple):
    """The figures of one second."""

    t: float
    queue: int
    in_flight: int
    waiting_p50: float | None
    waiting_p95: float | None
    service_p50: float | None
    service_p95: float | None


class Present(NamedTuple):
    """What the history shows, kept up to date by ``labkit.gateway.live``."""

    feed: Feed
    timeline: Timeline
    last_fault: LastFault
    samples: deque[Sample]
    twice: int
    """Tasks with two outcomes."""


class Seen(NamedTuple):
    """What a page has already; the default: nothing."""

    drawn: int = 0
    """The number of the latest span or arrow."""
    note: int = 0
    second: int = -1
    """The latest whole second of the throughput."""
    sample: float = -1.0


class Moment(NamedTuple):
    """A moment for a page that has seen ``before``, and what it will have seen."""

    body: dict[str, Any]
    seen: Seen


def moment(
    status: ClusterStatus,
    present: Present,
    before: Seen,
    monotonic: float,
    wall: float,
    pending: Mapping[str, str],
    compared: Compared | None = None,
) -> Moment:
    """Return what a page that has seen ``before`` needs to show this moment, at our clocks' two instants."""
    feed = present.feed
    now = feed.now(monotonic)
    shown = moment_of(status, feed, monotonic, pending, wall)
    present.timeline.settle(now)
    if status["broker"] is not None and not feed.live.open:
        present.last_fault.broker_answers(now)
    present.last_fault.settle(now)
    seconds = feed.seconds(monotonic)
    notes = [note for note in feed.notes if note.number > before.note][-MOST_NEW_LINES:]
    spans, arrows = present.timeline.spans(before.drawn), present.timeline.arrows(before.drawn)
    chain = present.last_fault.chain
    counts = feed.live.counts
    workers = cast(list[WorkerRow], workers_to_show(status))
    broker = status["broker"]
    measured = Measured(
        workers, seconds, chain, counts[h.DONE], counts[h.DUPLICATE], present.twice, compared, now
    )
    body = {
        "full": before == Seen(),
        "now": round(now, 3),
        "cluster": shown.cluster,
        "headline": ready_in_words(status),
        "problem": shown.problem,
        "broker": broker is not None,
        "workers": shown.workers,
        "left": _left(feed, present.timeline, seconds, {card.name for card in shown.cards}),
        "cards": [_card(card, feed) for card in shown.cards],
        "figures": _figures(counts, broker, present.samples),
        "spans": [_span(span) for span in spans],
        "running": _running(feed),
        "arrows": [_arrow(arrow) for arrow in arrows],
        "marks": [[round(mark.t, 3), mark.text, mark.harm] for mark in shown.marks],
        "away": _away(feed, now),
        "seconds": [[second.t, second.by_worker] for second in seconds if second.t > before.second],
        "samples": [_rounded(sample) for sample in present.samples if sample.t > before.sample],
        "log": [_line(note.number, note.line(), note.event.task) for note in notes],
        "unrecorded": [
            _line(0, line, "")
            for line in (_unrecorded(shown.log, feed) if status["unrecorded_faults"] else ())
        ],
        "targets": [list(promise) for promise in promises(measured)],
        "chain": None
        if chain is None
        else {"title": heading(chain), "links": [list(link) for link in links(chain)], "t": chain.began_at},
    }
    seen = Seen(
        present.timeline.latest,
        feed.notes[-1].number if feed.notes else before.note,
        seconds[-1].t if seconds else before.second,
        present.samples[-1].t if present.samples else before.sample,
    )
    return Moment(body, seen)


def _card(card: Card, feed: Feed) -> dict[str, Any]:
    facts = [list(fact) for fact in card.facts]
    if card.kind == "worker":
        share = f"{100 * feed.done(card.name) / feed.total:.0f} %" if feed.total else "–"
        facts.insert(4, [_("share"), share])
    return {
        "name": card.name,
        "kind": card.kind,
        "colour": card.colour,
        "sign": card.sign,
        "state": card.state,
        "tone": card.tone,
        "facts": facts,
        # Its own page could not start the HTTP side again.
        "commands": [] if card.kind == API else sorted(card.commands),
        "pending": card.pending,
    }


def _figures(counts: Counter[str], broker: dict[str, Any] | None, samples: deque[Sample]) -> dict[str, Any]:
    last = samples[-1] if samples else None
    return {
        "queue": None if broker is None else broker["queued"],
        "in_flight": None if broker is None else broker["assigned"],
        "done": counts[h.DONE],
        "failed": counts[h.FAILED],
        "again": counts[h.REQUEUED],
        "late": counts[h.DUPLICATE],
        "p50": None if last is None else _short(last.service_p50),
        "p95": None if last is None else _short(last.service_p95),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _rounded(sample: Sample) -> list[float | None]:
    return [_short(value) for value in sample]


def _span(span: Span) -> list[Any]:
    return [span.worker, round(span.begin, 3), round(span.end, 3), span.task, span.n, span.outcome]


def _arrow(arrow: Arrow) -> list[Any]:
    return [arrow.task, arrow.giver, round(arrow.given_at, 3), arrow.taker, round(arrow.taken_at, 3)]


def _running(feed: Feed) -> list[list[Any]]:
    """Return the attempts that run now: worker, since when, task."""
    live = feed.live
    rows = [
        [name, round(live.since_began(attempt.started_at), 3), task]
        for name, worker in live.workers.items()
        for task, attempt in worker.started.items()
        if attempt.started_at is not None
    ]
    return rows[:MOST_RUNNING]


def _away(feed: Feed, now: float) -> list[list[Any]]:
    """Return when workers were away in the last minute: worker, since when, until when (None: still)."""
    since = feed.live.since_began
    rows: list[list[Any]] = []
    for away in feed.live.outages():
        end = None if away.end is None else since(away.end)
        if end is None or end > now - SPAN_S:
            rows.append([away.worker, round(since(away.begin), 3), end if end is None else round(end, 3)])
    return rows


def _left(feed: Feed, timeline: Timeline, seconds: list[Second], there: set[str]) -> list[list[str]]:
    """Return the workers that computed something in the last minute and belong to the cluster no more.

    Each with its colour. Without them a smaller cluster would have another past.
    """
    names = {span.worker for span in timeline.spans()}.union(*(second.by_worker for second in seconds))
    return [[name, worker_colour(name)] for name in sorted(names - there, key=natural)]


def _unrecorded(log: tuple[LogLine, ...], feed: Feed) -> list[LogLine]:
    """Return the lines of the log that come from no event: faults done while no broker could record them."""
    recorded = {(line.t, line.text) for line in feed.log}
    return [line for line in log if (line.t, line.text) not in recorded]


def _line(number: int, line: LogLine, task: str) -> list[Any]:
    return [number, round(line.t, 2), line.text, line.mood, line.worker, task]
