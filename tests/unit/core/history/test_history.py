"""The answers of a recording: ledger, story, intervals, throughput, share, and gaps."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.history import KINDS, Event, History, encode_event, natural
from tests.tools.made_histories import CLOCK, demo, run, task_id

A, B = task_id(1), task_id(2)


def made(*events: tuple[float, str, str, int, str] | Event) -> History:
    """Return a history of (t, kind, task, attempt, worker) rows, after a broker's start at t = 0."""
    start = Event(CLOCK, "broker_started")
    return History(
        [start, *(e if isinstance(e, Event) else Event(CLOCK + e[0], e[1], e[2], e[3], e[4]) for e in events)]
    )


def detailed(
    t: float, kind: str, task: str = "", attempt: int = 0, worker: str = "", **detail: object
) -> Event:
    return Event(CLOCK + t, kind, task, attempt, worker, detail)


# --- the recording itself -----------------------------------------------------------------------------------


def test_empty_history_answers_every_question() -> None:
    history = History()
    assert (len(history), history.began_at, history.duration_s, history.has_gaps) == (0, 0.0, 0.0, False)
    assert not any([history.ledger(), history.recoveries(), history.check(), history.throughput(1.0)])
    assert not any([history.story(A), history.find(""), history.busy(), history.faults(), history.gaps()])
    assert not any([history.intervals(), history.workers(), history.share(), history.counts()])


@pytest.mark.parametrize("kind", sorted(KINDS | {"teleported"}))
def test_single_event_of_any_kind_answers_every_question(kind: str) -> None:
    history = History([Event(CLOCK, kind, A, 1, "worker-1", {"target": "worker-1", "fault": "kill"})])
    history.ledger(), history.recoveries(), history.story(A), history.intervals(), history.workers()
    assert history.check(ended=True) is not None
    assert history.counts() == {kind: 1}
    assert history.throughput(1.0) == []


def test_history_read_from_lines_is_the_history_of_the_events() -> None:
    events = demo()
    read = History.from_lines(encode_event(event) + "\n" for event in events)
    direct = History(events)
    assert len(read) == len(direct) and not read.torn and not read.has_gaps
    assert [row[:8] for row in read.ledger()] == [row[:8] for row in direct.ledger()]
    assert read.duration_s == pytest.approx(direct.duration_s, abs=2e-6)


def test_history_extended_live_answers_like_one_read_at_the_end() -> None:
    events = demo()
    live = History()
    for i in range(0, len(events), 50):
        live.extend(events[i : i + 50])
        live.ledger(), live.intervals(), live.recoveries()
    whole = History(events)
    assert live.ledger() == whole.ledger()
    assert live.intervals() == whole.intervals()
    assert live.recoveries() == whole.recoveries()
    assert live.counts() == whole.counts()


def test_torn_last_line_is_left_out_and_reported() -> None:
    lines = [encode_event(event) for event in demo()]
    history = History.from_lines([*lines[:-1], lines[-1][:20]])
    assert history.torn and not history.has_gaps
    assert len(history) == len(lines) - 1


def test_unreadable_lines_in_the_middle_become_a_gap() -> None:
    lines = [encode_event(event) for event in demo()]
    lines[10] = lines[11] = "garbage"
    history = History.from_lines(lines)
    assert history.has_gaps and not history.torn
    assert [missing for _, missing in history.gaps()] == [2]
    assert len(history) == len(lines) - 1  # two lines fewer, one gap more


def test_gap_of_the_recorder_is_listed_with_its_instant() -> None:
    history = made(detailed(2.0, "gap", missing=40))
    assert history.has_gaps
    assert history.gaps() == [(2.0, 40)]


def test_unknown_kinds_are_counted_and_change_nothing_else() -> None:
    events = demo()
    strange = [Event(events[40].at, "teleported", detail={"to": "mars"})]
    history = History([*events[:41], *strange, *events[41:]])
    assert history.counts()["teleported"] == 1
    assert history.ledger() == History(events).ledger()


KIND = st.sampled_from([*sorted(KINDS), "unheard_of"])
ANY_EVENTS = st.lists(
    st.builds(
        Event,
        at=st.floats(0, 100),
        kind=KIND,
        task=st.sampled_from(["", A, B]),
        attempt=st.integers(0, 3),
        worker=st.sampled_from(["", "worker-1", "worker-2"]),
        detail=st.fixed_dictionaries(
            {},
            optional={
                "target": st.sampled_from(["worker-1", "worker-2", "broker", "redis"]),
                "fault": st.sampled_from(["kill", "pause", "stop", "start"]),
                "slots": st.sampled_from([1, 4, 10**9, -3, "many", None]),
                "compute_s": st.sampled_from([0.1, -1.0, 1e9, "long", None]),
                "cause": st.sampled_from(["closed", "lost", "returned"]),
                "missing": st.sampled_from([3, None]),
                "needs": st.sampled_from(["edges", "", 7]),
            },
        ),
    ),
    max_size=25,
)


@given(ANY_EVENTS)
def test_no_sequence_of_events_breaks_a_question(events: list[Event]) -> None:
    history = History(events)
    history.recoveries(), history.workers(), history.gaps(), history.busy()
    for violation in history.check(ended=True):
        assert str(violation)
    assert all(str(row) for task in (A, B) for row in history.story(task))
    assert sum(history.share().values()) <= history.counts().get("done", 0)
    for rows in history.intervals().values():
        assert all(row.start <= row.end for row in rows)
    assert len(history.ledger()) <= 3


# --- tasks --------------------------------------------------------------------------------------------------


def test_ledger_lists_workers_winner_and_times_of_each_task() -> None:
    history = made(
        detailed(1.0, "submitted", A, job="labkit.jobs:echo", client="me", bytes=3),
        (1.5, "dispatched", A, 1, "worker-2"),
        (1.6, "started", A, 1, "worker-2"),
        detailed(2.0, "lost", worker="worker-2", cause="closed"),
        detailed(2.0, "requeued", A, 1, "worker-2", cause="lost"),
        (2.1, "dispatched", A, 2, "worker-1"),
        (2.2, "started", A, 2, "worker-1"),
        detailed(2.7, "done", A, 2, "worker-1", compute_s=0.4, bytes=3),
    )
    (row,) = history.ledger()
    assert (row.task, row.job, row.client, row.outcome) == (A, "labkit.jobs:echo", "me", "done")
    assert (row.attempts, row.workers) == (2, ("worker-2", "worker-1"))
    assert (row.winner, row.winning_attempt, row.compute_s) == ("worker-1", 2, 0.4)
    assert (row.submitted, row.started, row.ended) == pytest.approx((1.0, 2.2, 2.7))
    assert row.total_s == pytest.approx(1.7)


def test_late_result_of_first_attempt_wins_and_second_is_a_duplicate() -> None:
    history = made(
        (1.0, "submitted", A, 0, ""),
        (1.0, "dispatched", A, 1, "worker-2"),
        (1.0, "started", A, 1, "worker-2"),
        detailed(3.0, "lost", worker="worker-2", cause="silent"),
        detailed(3.0, "requeued", A, 1, "worker-2", cause="lost"),
        (3.0, "dispatched", A, 2, "worker-1"),
        (3.1, "started", A, 2, "worker-1"),
        (3.2, "done", A, 1, "worker-2"),
        (3.6, "duplicate", A, 2, "worker-1"),
    )
    (row,) = history.ledger()
    assert (row.winner, row.winning_attempt, row.duplicates) == ("worker-2", 1, 1)
    intervals = history.intervals()
    (other,) = intervals["worker-1"]
    assert (other.start, other.end) == pytest.approx((3.1, 3.6))
    assert other.outcome == "superseded"
    assert [i.outcome for i in intervals["worker-2"]] == ["done"]
    assert history.check(ended=True)[0].rule == "not_there"  # no worker joined in this made-up history


def test_failed_and_open_tasks_are_distinguished() -> None:
    history = made(
        (1.0, "submitted", A, 0, ""),
        (1.0, "submitted", B, 0, ""),
        (1.0, "dispatched", A, 1, "worker-1"),
        detailed(1.5, "failed", A, 1, "worker-1", code="ERROR", error="ValueError: no"),
    )
    failed, still_open = history.ledger()
    assert (failed.outcome, failed.code, failed.error) == ("failed", "ERROR", "ValueError: no")
    assert failed.winner == ""
    assert (still_open.outcome, still_open.ended, still_open.total_s) == ("", None, None)


def test_task_that_is_submitted_again_to_a_new_broker_is_one_row() -> None:
    history = made(
        (1.0, "submitted", A, 0, ""),
        (1.0, "dispatched", A, 1, "worker-1"),
        (2.0, "broker_started", "", 0, ""),
        (2.5, "submitted", A, 0, ""),
        (2.5, "dispatched", A, 1, "worker-1"),
        (3.0, "done", A, 1, "worker-1"),
    )
    (row,) = history.ledger()
    assert (row.outcome, row.attempts, row.submitted) == ("done", 2, 1.0)
    assert history.busy() == [(1.0, 3.0)]


def test_story_of_a_task_set_aside_does_not_claim_it_is_next() -> None:
    lost = Event(CLOCK + 2, "requeued", A, 1, "worker-1", {"cause": "lost"})
    again = Event(CLOCK + 4, "requeued", A, 2, "worker-2", {"cause": "lost", "wait_s": 62.0})
    first, second = History([lost, again]).story(A)
    assert str(first).startswith("first in the queue again")
    assert str(second).startswith("in the queue again, but set aside until worker-2 joins again or ends")
    assert "62.0 s at most" in str(second)


def test_story_of_a_task_names_the_fault_and_loss_of_its_worker() -> None:
    history = History(demo())
    task = history.recoveries()[0].held[0]
    story = history.story(task)
    assert [row.event for row in story] == [
        "submitted", "dispatched", "started", "fault", "lost", "requeued", "dispatched", "started", "done",
    ]  # fmt: skip
    assert str(story[4]) == "worker-2 was lost (closed) while it held the task"
    assert [row.t for row in story] == sorted(row.t for row in story)
    assert story[0].t == pytest.approx(0.5)


def test_story_of_an_unharmed_task_names_no_fault() -> None:
    history = History(demo())
    assert [row.event for row in history.story(task_id(0))] == ["submitted", "dispatched", "started", "done"]
    assert history.story("nothing like it") == []


def test_shortened_id_is_completed() -> None:
    assert History(run(tasks=20)).find(task_id(3)[:-1]) == [task_id(i) for i in range(16)]


# --- what ran where -----------------------------------------------------------------------------------------


def test_intervals_of_a_slot_do_not_overlap_and_cover_every_started_attempt() -> None:
    events = run(kill_at=1.2, slots=2)
    history = History(events)
    started = Counter(event.worker for event in events if event.kind == "started")
    for worker, rows in history.intervals().items():
        assert len(rows) == started[worker]
        assert {row.slot for row in rows} == {0, 1}
        for slot in (0, 1):
            mine = [row for row in rows if row.slot == slot]
            assert all(a.end <= b.start + 1e-9 for a, b in zip(mine, mine[1:], strict=False))


def test_attempt_that_died_with_its_worker_ends_at_the_loss() -> None:
    history = History(demo())
    lost = [row for row in history.intervals()["worker-2"] if row.outcome == "lost"]
    assert [row.end for row in lost] == [pytest.approx(1.52)]


def test_late_start_is_set_back_by_the_workers_compute_time() -> None:
    history = made(
        (1.0, "submitted", A, 0, ""),
        (1.0, "dispatched", A, 1, "worker-1"),
        (1.9, "started", A, 1, "worker-1"),
        detailed(1.9, "done", A, 1, "worker-1", compute_s=0.5),
    )
    (row,) = history.intervals()["worker-1"]
    assert (row.start, row.end) == pytest.approx((1.4, 1.9))


def test_attempt_that_only_waited_at_its_worker_did_not_run() -> None:
    history = made(
        (1.0, "dispatched", A, 1, "worker-1"),
        (1.0, "dispatched", B, 1, "worker-1"),
        (1.1, "started", A, 1, "worker-1"),
        detailed(2.0, "lost", worker="worker-1", cause="closed"),
    )
    assert [row.task for row in history.intervals()["worker-1"]] == [A]


def test_open_attempt_lasts_until_the_last_event() -> None:
    history = made(
        (1.0, "dispatched", A, 1, "worker-1"), (1.0, "started", A, 1, "worker-1"), (5.0, "x", "", 0, "")
    )
    (row,) = history.intervals()["worker-1"]
    assert (row.start, row.end, row.outcome) == (1.0, 5.0, "")


def test_states_of_a_worker_follow_one_another_to_the_end() -> None:
    history = made(
        (1.0, "joined", "", 0, "worker-2"),
        (2.0, "suspect", "", 0, "worker-2"),
        (2.5, "alive", "", 0, "worker-2"),
        (4.0, "lost", "", 0, "worker-2"),
        (6.0, "joined", "", 0, "worker-2"),
        (7.0, "draining", "", 0, "worker-2"),
        (8.0, "left", "", 0, "worker-2"),
        (9.0, "broker_stopped", "", 0, ""),
    )
    assert [tuple(span) for span in history.workers()["worker-2"]] == [
        ("ready", 1.0, 2.0), ("suspect", 2.0, 2.5), ("ready", 2.5, 4.0), ("lost", 4.0, 6.0),
        ("ready", 6.0, 7.0), ("draining", 7.0, 8.0), ("left", 8.0, 9.0),
    ]  # fmt: skip


def test_new_broker_knows_no_worker_until_it_joins() -> None:
    history = made(
        (1.0, "joined", "", 0, "worker-1"),
        (2.0, "broker_started", "", 0, ""),
        (3.0, "joined", "", 0, "worker-1"),
    )
    assert [span.state for span in history.workers()["worker-1"]] == ["ready", "unknown", "ready"]


def test_workers_are_in_natural_order() -> None:
    history = made(*[(1.0, "joined", "", 0, f"worker-{i}") for i in (10, 2, 1)])
    assert list(history.workers()) == list(history.intervals()) == list(history.share())
    assert list(history.share()) == ["worker-1", "worker-2", "worker-10"]
    assert sorted(["b", "a10", "a9", "", "10", "9"], key=natural) == ["", "9", "10", "a9", "a10", "b"]


# --- results over time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [0.05, 0.3, 1.0, 3.0, 100.0])
def test_windows_fill_the_recording_and_count_every_result_once(window_s: float) -> None:
    history = History(demo())
    samples = history.throughput(window_s)
    assert sum(sample.done for sample in samples) == 180
    assert all(sum(sample.by_worker.values()) == sample.done for sample in samples)
    assert samples[0].start == 0.0 and samples[-1].end == history.duration_s
    assert all(a.end == b.start for a, b in zip(samples, samples[1:], strict=False))
    widths = [sample.end - sample.start for sample in samples]
    assert max(widths) == pytest.approx(min(widths))


def test_throughput_is_results_per_second_and_idle_time_is_zero() -> None:
    history = History(run(tasks=600, submit_at=1.0))
    samples = history.throughput(0.5)
    assert samples[0].per_s == 0.0
    assert 50 < samples[4].per_s < 65  # three workers, 50 ms each


def test_throughput_of_a_part_counts_only_that_part() -> None:
    history = History(demo())
    assert sum(sample.done for sample in history.throughput(0.1, 1.0, 2.0)) == len(
        [row for row in history.ledger() if row.ended is not None and 1.0 <= row.ended <= 2.0]
    )


def test_failed_task_is_no_result() -> None:
    history = made((1.0, "submitted", A, 0, ""), detailed(2.0, "failed", A, code="NO_WORKER"))
    assert [sample.done for sample in history.throughput(1.0)] == [0, 0]


def test_share_counts_results_per_worker_in_a_period() -> None:
    history = History(demo())
    assert sum(history.share().values()) == 180
    before = history.share(until=1.5)
    assert all(0.28 < n / sum(before.values()) < 0.38 for n in before.values())
    assert history.share(1.53, 2.3).keys() == {"worker-1", "worker-3"}  # worker-2 was not there


def test_worker_without_results_has_a_share_of_zero() -> None:
    history = made((0.1, "joined", "", 0, "worker-9"), (2.0, "broker_stopped", "", 0, ""))
    assert history.share() == {"worker-9": 0}
    assert history.share(until=0.05) == {}


# --- speed --------------------------------------------------------------------------------------------------


@pytest.mark.no_cover
def test_large_history_is_read_and_asked_in_bounded_time() -> None:
    """A guard against quadratic answers; benchmarks measure the speed."""
    events = run(tasks=25_000, workers=10, seconds=(0.001, 0.003), kill_at=5.0)
    began = time.perf_counter()
    history = History(events)
    history.ledger(), history.intervals(), history.share(), history.recoveries(), history.check(ended=True)
    history.throughput(0.1)
    assert time.perf_counter() - began < 10.0
