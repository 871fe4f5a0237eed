"""Who computed what: spans with a bound, arrows of what went to another worker, numbers for readers."""

from __future__ import annotations

from labkit.core import history as h
from labkit.core.history import Event
from labkit.gateway.timeline import MOST_IN_A_SLICE, MOST_SPANS, Timeline


def of(timeline: Timeline, *events: Event) -> Timeline:
    for event in events:
        timeline.add(event, event.at)
    return timeline


def done(task: str, worker: str, at: float, compute_s: float) -> list[Event]:
    return [
        Event(at - compute_s, h.DISPATCHED, task, 1, worker),
        Event(at, h.DONE, task, 1, worker, {"compute_s": compute_s}),
    ]


def test_a_result_is_a_span_as_long_as_its_worker_computed() -> None:
    timeline = of(Timeline(), *done("a", "worker-1", 2.0, 0.5))
    assert timeline.spans() == [], "its quarter of a second is not over"
    timeline.settle(3.0)
    (span,) = timeline.spans()
    assert (span.worker, span.begin, span.end, span.task, span.outcome) == (
        "worker-1", 1.5, 2.0, "a", "done",
    )  # fmt: skip


def test_a_lost_attempt_is_a_span_and_its_way_to_another_worker_an_arrow() -> None:
    timeline = of(
        Timeline(),
        Event(1.0, h.DISPATCHED, "a", 1, "worker-1"),
        Event(1.1, h.STARTED, "a", 1, "worker-1"),
        Event(1.0, h.DISPATCHED, "b", 1, "worker-1"),
        Event(2.0, h.REQUEUED, "a", 1, "worker-1", {"cause": "lost"}),
        Event(2.0, h.REQUEUED, "b", 1, "worker-1", {"cause": "lost"}),
        Event(2.5, h.DISPATCHED, "a", 2, "worker-2"),
    )
    timeline.settle(4.0)
    assert [(span.task, span.begin, span.end, span.outcome) for span in timeline.spans()] == [
        ("a", 1.1, 2.0, "lost")
    ], "b had not begun"
    (arrow,) = timeline.arrows()
    assert (arrow.task, arrow.giver, arrow.given_at, arrow.taker, arrow.taken_at) == (
        "a", "worker-1", 2.0, "worker-2", 2.5,
    )  # fmt: skip


def test_many_short_attempts_of_a_worker_become_one_span() -> None:
    events = [event for n in range(100) for event in done(f"t{n}", "worker-1", 1.0 + n * 0.001, 0.0005)]
    timeline = of(Timeline(), *events)
    timeline.settle(2.0)
    (span,) = timeline.spans()
    assert (span.n, span.task, span.end) == (100, "t0", 1.099)
    few = of(Timeline(), *events[: 2 * MOST_IN_A_SLICE])
    few.settle(2.0)
    assert [span.n for span in few.spans()] == [1] * MOST_IN_A_SLICE


def test_a_reader_asks_for_what_came_after_a_number() -> None:
    timeline = of(Timeline(), *done("a", "worker-1", 1.0, 0.1), *done("b", "worker-1", 2.0, 0.1))
    timeline.settle(3.0)
    seen = timeline.spans()[0].number
    assert [span.task for span in timeline.spans(after=seen)] == ["b"]
    assert timeline.spans(after=timeline.latest) == []


def test_what_is_older_than_a_minute_is_forgotten_and_memory_is_bounded() -> None:
    timeline = of(Timeline(), *done("a", "worker-1", 1.0, 0.1))
    timeline.settle(30.0)
    assert timeline.spans()
    timeline.settle(62.0)
    assert timeline.spans() == []
    for n in range(3 * MOST_SPANS):
        at = 100 + n * 0.005
        of(timeline, *done(f"t{n}", f"worker-{n % 40}", at, 0.001))
    timeline.settle(1000.0 + 3 * MOST_SPANS * 0.005 - 1000.0 + 100)
    assert 0 < len(timeline.spans()) <= MOST_SPANS


def test_a_new_broker_ends_what_its_predecessor_had_sent_out() -> None:
    timeline = of(
        Timeline(),
        Event(1.0, h.DISPATCHED, "a", 1, "worker-1"),
        Event(1.1, h.STARTED, "a", 1, "worker-1"),
        Event(2.0, h.BROKER_STARTED),
        Event(2.5, h.DISPATCHED, "a", 1, "worker-2"),
    )
    timeline.settle(4.0)
    assert [(span.end, span.outcome) for span in timeline.spans()] == [(2.0, "lost")]
    assert timeline.arrows() == [], "no worker gave it back"


def test_a_task_that_goes_back_to_its_worker_has_no_arrow_to_another() -> None:
    timeline = of(
        Timeline(),
        Event(1.0, h.DISPATCHED, "a", 1, "worker-2"),
        Event(2.0, h.REQUEUED, "a", 1, "worker-2", {"cause": "lost"}),
        Event(2.5, h.DISPATCHED, "a", 2, "worker-2"),
    )
    assert timeline.arrows() == []
