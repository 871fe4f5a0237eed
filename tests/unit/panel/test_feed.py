"""The panel's feed: events become a log, marks and results per second, in bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest

from labkit.cluster.status import ClusterStatus
from labkit.core.history import Event
from labkit.panel.feed import CHART_S, LOG_LINES, Feed
from labkit.panel.view import moment_of
from tests.tools.made_histories import demo, note
from tests.tools.panel_moments import feed_of, status, worker


def test_feed_counts_every_result_and_keeps_only_the_shown_time() -> None:
    feed, now = feed_of(demo())
    assert feed.total == 180
    long_after = now + 100
    feed.read([], long_after, 0.0)
    assert sum(sum(second.by_worker.values()) for second in feed.seconds(long_after)) == 0
    assert feed.total == 180 and not feed.live.results


def test_seconds_hold_the_results_without_the_present_second() -> None:
    feed, now = feed_of(demo())
    end = int(feed.now(now))
    seconds = feed.seconds(now)
    assert [second.t for second in seconds] == list(range(end))
    assert 0 < sum(sum(second.by_worker.values()) for second in seconds) <= 180
    assert len(feed.seconds(now + 1000)) == CHART_S


def test_log_lists_kill_loss_and_requeue_in_this_order() -> None:
    feed, _now = feed_of(demo())
    texts = [line.text for line in feed.log]
    kill = texts.index("command: kill worker-2")
    lost = texts.index("worker-2 is lost: its connection closed")
    requeued = next(i for i, text in enumerate(texts) if text.endswith("worker-2 no longer has it"))
    back = texts.index("command: start worker-2")
    assert kill < lost < requeued < back


def test_a_polite_stop_is_no_fault_in_the_log_or_on_the_charts() -> None:
    stop, kill = (
        note(at, "fault", fault=fault, target="worker-1") for at, fault in ((1, "stop"), (2, "kill"))
    )
    feed, now = feed_of([note(0.1, "joined", "worker-1"), stop, kill])
    assert [line.mood for line in feed.log if line.text.startswith("command")] == ["plain", "harm"]
    assert [(mark.text, mark.harm) for mark in feed.marks(now)] == [
        ("stop worker-1", False),
        ("kill worker-1", True),
    ]


def test_log_names_each_cause_of_a_requeue_and_of_a_goodbye() -> None:
    feed, _now = feed_of(
        [
            *(note(0.1, "joined", f"worker-{n}") for n in (1, 2, 3, 4)),
            *(note(0.2, "dispatched", f"worker-{n}", "ab" * 16, 1) for n in (1, 2, 3)),
            note(1, "draining", "worker-1"),
            note(1, "requeued", "worker-1", "ab" * 16, 1, cause="returned"),
            note(1, "left", "worker-1"),
            note(2, "requeued", "worker-2", "cd" * 16, 1, cause="hung"),
            note(2, "left", "worker-2"),
            note(3, "draining", "worker-4"),
            note(3, "dispatched", "worker-4", "ef" * 16, 1),
            note(13, "left", "worker-4"),
            note(13, "requeued", "worker-4", "ef" * 16, 1, cause="left"),
        ]
    )
    texts = [line.text for line in feed.log]
    again = "is first in the queue again"
    assert (
        f"task ababab of worker-1 {again}: its worker was asked to stop and gave it back before it began"
        in texts
    )
    assert "worker-1 has left politely, empty-handed" in texts
    assert f"task cdcdcd of worker-2 {again}: it outran its lease" in texts
    assert "worker-2 ends, because a task outran its lease there" in texts
    assert "worker-4 has left before it was done: 1 task goes back to the queue" in texts


def test_log_and_marks_stay_bounded() -> None:
    feed = Feed()
    for i in range(1000):
        feed.read([Event(float(i), "fault", detail={"fault": "kill", "target": "worker-1"})], float(i), 0.0)
    assert len(feed.log) == LOG_LINES and len(feed.marks(999.0)) <= CHART_S + 1


def test_every_kind_of_event_is_taken_in_with_and_without_its_details() -> None:
    from labkit.core.history import KINDS

    feed = Feed()
    for kind in sorted(KINDS):
        full = Event(1.0, kind, "ab" * 16, 1, "worker-1", {"cause": "closed"})
        feed.read([Event(1.0, kind), full], 1.0, 0.0)
    feed.read([Event(1.0, "of a newer labkit")], 1.0, 0.0)
    assert feed.log and all(line.text for line in feed.log)


def test_now_is_estimated_from_the_wall_clock_at_the_brokers_start() -> None:
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": 1000.0})], monotonic=77.0, wall=1010.0)
    assert feed.now(77.0) == pytest.approx(10.0)
    assert feed.now(80.0) == pytest.approx(13.0)


def test_brokers_own_way_to_state_the_time_is_understood_so_an_old_rate_is_not_shown() -> None:
    started = {"wall": "2026-01-31T12:00:00Z"}
    wall = datetime(2026, 1, 31, 12, 10, 0, tzinfo=UTC).timestamp()
    feed = Feed()
    done = [Event(500.0 + n / 10, "done", "ab" * 16, 1, "worker-1") for n in range(100)]
    feed.read([Event(500.0, "broker_started", detail=started), *done], monotonic=77.0, wall=wall)
    assert feed.now(77.0) == pytest.approx(600.0, abs=1.0)
    told = cast(ClusterStatus, status(worker()))
    assert "· 0.0 results/s" in moment_of(told, feed, 77.0).headline
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": "no time"})], monotonic=77.0, wall=wall)
    assert feed.now(77.0) == 0.0


def test_event_younger_than_the_estimate_corrects_the_clock() -> None:
    feed = Feed()
    feed.read([Event(500.0, "broker_started", detail={"wall": 1000.0})], monotonic=77.0, wall=1001.0)
    feed.read([Event(505.0, "joined", worker="worker-1")], monotonic=78.0, wall=1002.0)
    assert feed.now(78.0) == pytest.approx(5.0)


def test_feed_without_events_has_no_past() -> None:
    feed = Feed()
    assert (feed.now(1234.5), feed.seconds(1234.5), feed.marks(1234.5)) == (0.0, [], [])
