"""Tasks whose workers are lost, crash or hang, and the blame for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labkit.core.broker.blame import MAX_VERDICTS
from labkit.core.protocol import messages as m
from tests.tools.scheduling import RULES, Lab, a_lab, an_id

# --- a lost worker ------------------------------------------------------------------------------------------


def test_lost_workers_tasks_are_requeued_first_and_in_order() -> None:
    lab = a_lab()
    for number in range(1, 5):
        lab.submit(number)
    lab.close("w1")
    lab.worker("w2", slots=4)
    lab.tick()
    assert lab.tasks_of("w2") == [(an_id(1), 2), (an_id(2), 2), (an_id(3), 1), (an_id(4), 1)]
    assert lab.causes("lost") == ["closed"]
    assert lab.causes("requeued") == ["lost", "lost"]


def test_silent_worker_is_suspect_then_lost() -> None:
    lab = a_lab()
    task = lab.submit()
    lab.pass_time(RULES.suspect_s + 0.2, "c1")
    assert lab.status_of("w1") == "suspect"
    assert lab.happened("lost") == []
    lab.pass_time(RULES.dead_s - RULES.suspect_s + 0.1, "c1")
    assert lab.causes("lost") == ["silent"]
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w2") == [(task, 2)]


def test_suspect_gets_no_work_until_it_is_heard_again() -> None:
    lab = a_lab()
    lab.pass_time(RULES.suspect_s + 0.2, "c1")
    task = lab.submit()
    assert lab.tasks_of("w1") == []
    lab.deliver("w1", m.Heartbeat())
    lab.tick()
    assert lab.tasks_of("w1") == [(task, 1)]
    assert [event.kind for event in lab.events if event.worker == "w1"][-3:] == [
        "suspect", "alive", "dispatched",
    ]  # fmt: skip


def test_worker_that_sends_heartbeats_is_never_lost_however_slow() -> None:
    lab = a_lab()
    task = lab.submit(lease_s=100.0)
    lab.start(task)
    lab.pass_time(60.0, "c1", "w1")
    assert lab.happened("suspect") == lab.happened("lost") == []


def test_broker_beats_for_all_its_peers() -> None:
    lab = a_lab()
    lab.pass_time(5.0, "c1", "w1")
    for route in ("c1", "w1"):
        assert 8 <= len(lab.got(route, m.Heartbeat)) <= 11  # every 0.5 s, or the tick after it


def test_announced_bulk_buys_patience_in_proportion() -> None:
    lab = a_lab()
    lab.deliver("w1", m.Bulk(int(3 * RULES.slow_link_bytes_per_s)))
    lab.pass_time(3.0 + RULES.suspect_s - 0.1, "c1")
    assert lab.happened("suspect") == []
    lab.pass_time(RULES.dead_s, "c1")
    assert lab.causes("lost") == ["silent"]


def test_patience_is_used_up_by_the_next_message() -> None:
    lab = a_lab()
    lab.deliver("w1", m.Bulk(RULES.max_message_bytes))
    lab.deliver("w1", m.Heartbeat())
    lab.pass_time(RULES.dead_s + 0.2, "c1")
    assert lab.causes("lost") == ["silent"]


def test_announced_bulk_buys_bounded_patience() -> None:
    lab = a_lab()
    lab.deliver("w1", m.Bulk(2**63))
    longest_s = RULES.max_message_bytes / RULES.slow_link_bytes_per_s + RULES.dead_s
    lab.pass_time(longest_s + 0.3, "c1")
    assert lab.causes("lost") == ["silent"]


def test_broker_that_overslept_blames_no_peer() -> None:
    lab = a_lab(workers=2)
    task = lab.submit()
    lab.oversleep(60.0)
    assert lab.happened("suspect") == lab.happened("lost") == lab.happened("cancelled") == []
    assert lab.count("oversleeps") == 1
    lab.pass_time(RULES.dead_s + 0.2, "c1", "w1")
    assert [event.worker for event in lab.happened("lost")] == ["w2"]
    lab.done(task)
    assert lab.outcomes() == [(task, "RESULT")]


@pytest.mark.parametrize("first", ["client", "worker"])
def test_broker_that_waits_for_its_first_peer_does_not_oversleep(first: str) -> None:
    lab = Lab()
    lab.tick()
    lab.now += 3600.0
    assert lab.scheduler.next_deadline() is None, "there is nothing to look at"
    lab.client() if first == "client" else lab.worker()
    lab.tick()
    assert lab.count("oversleeps") == 0
    lab.oversleep(60.0)
    assert lab.count("oversleeps") == 1


def test_sleep_of_the_broker_is_not_compute_time() -> None:
    lab = a_lab()
    task = lab.submit(lease_s=5.0)
    lab.start(task)
    lab.oversleep(30.0)
    lab.pass_time(5.0, "c1", "w1")
    assert lab.happened("lost") == []


# --- blame --------------------------------------------------------------------------------------------------


def crash(lab: Lab, route: str, *started: bytes, attempt: int = 1) -> None:
    """Let a worker start these tasks, then let its process die."""
    for task in started:
        lab.start(task, route, attempt, confirm=1)
    lab.close(route)
    lab.tick()


def crash_often(lab: Lab, task: bytes, times: int) -> None:
    for attempt in range(1, times + 1):
        lab.worker(f"w{attempt}")
        lab.tick()
        crash(lab, f"w{attempt}", task, attempt=attempt)


def test_task_that_crashed_too_many_workers_is_poisoned() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    crash_often(lab, task, RULES.max_crashes)
    assert lab.outcomes() == [(task, "POISONED")]
    (event,) = lab.happened("poisoned")
    assert event.detail["crashes"] == RULES.max_crashes
    lab.worker("w9")
    lab.tick()
    assert lab.tasks_of("w9") == []


def test_task_with_one_crash_less_is_retried() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    crash_often(lab, task, RULES.max_crashes - 1)
    lab.worker("w9")
    lab.tick()
    lab.done(task, "w9", RULES.max_crashes)
    assert lab.outcomes() == [(task, "RESULT")]


def test_task_that_had_not_started_is_never_blamed() -> None:
    lab = a_lab(workers=0)
    killer, bystander = lab.submit(1), lab.submit(2)
    crash_often(lab, killer, RULES.max_crashes)
    assert lab.outcomes() == [(killer, "POISONED")]
    for attempt in range(RULES.max_crashes + 1, RULES.max_crashes + 5):
        lab.worker(f"w{attempt}")
        lab.tick()
        lab.close(f"w{attempt}")
    assert lab.outcomes() == [(killer, "POISONED")]
    lab.worker("w99")
    lab.tick()
    assert [task for task, _ in lab.tasks_of("w99")] == [bystander]


def test_tasks_in_flight_at_a_crash_are_retried_carefully() -> None:
    lab = a_lab()
    first, second = lab.submit(1), lab.submit(2)
    assert [task.careful for task in lab.got("w1", m.Task)] == [0, 0]
    crash(lab, "w1", first)
    lab.worker("w2")
    lab.tick()
    assert [(task.task, task.careful) for task in lab.got("w2", m.Task)] == [(first, 1), (second, 1)]


def test_careful_start_is_answered_with_go_once_it_is_on_record() -> None:
    lab = a_lab()
    task = lab.submit()
    crash(lab, "w1", task)
    lab.worker("w2")
    lab.tick()
    lab.start(task, "w2", 2, confirm=1)
    assert lab.got("w2", m.Go) == [m.Go(task, 2)]
    assert [(event.attempt, event.worker) for event in lab.happened("started")] == [(1, "w1"), (2, "w2")]


def test_ordinary_start_needs_no_go() -> None:
    lab = a_lab()
    lab.start(lab.submit())
    assert lab.got("w1", m.Go) == []


def test_goodbye_is_no_evidence_of_a_crash() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    for attempt in range(1, RULES.max_crashes + 2):
        route = lab.worker(f"w{attempt}")
        lab.tick()
        lab.start(task, route, attempt)
        lab.deliver(route, m.WorkerGoodbye())
    assert lab.outcomes() == []
    lab.worker("w9")
    lab.tick()
    assert [message.careful for message in lab.got("w9", m.Task)] == [0]


def test_process_heard_again_had_not_crashed_and_its_task_is_not_blamed() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    for attempt in range(1, 2 * RULES.max_crashes):
        route = lab.worker(f"w{attempt}", name="worker-1")  # one process, whose connection breaks and breaks
        lab.tick()
        crash(lab, route, task, attempt=attempt)
    assert lab.outcomes() == []


def test_poisoned_task_submitted_again_fails_without_costing_a_worker() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    crash_often(lab, task, RULES.max_crashes)
    lab.worker("w9")
    lab.clear()
    lab.submit()
    assert lab.outcomes() == [(task, "POISONED")]
    assert lab.tasks_of("w9") == []


def test_number_of_verdicts_is_bounded() -> None:
    lab = a_lab(rules=replace(RULES, max_hangs=1))
    for number in range(MAX_VERDICTS + 1):
        lab.error(lab.submit(number), "HUNG")
    lab.clear()
    lab.submit(0)
    lab.submit(1)
    assert lab.outcomes() == [(an_id(1), "HUNG")]
    assert lab.tasks_of("w1") == [(an_id(0), 1)]


# --- tasks whose worker falls silent ------------------------------------------------------------------------


def silence(lab: Lab, route: str, task: bytes, attempt: int) -> None:
    """Let a worker join, start the task and fall silent; its connection stands."""
    lab.worker(route)
    lab.tick()
    assert lab.tasks_of(route) == [(task, attempt)]
    lab.start(task, route, attempt)
    lab.pass_time(RULES.dead_s + 0.2, "c1")
    assert lab.causes("lost")[-1] == "silent"


def silence_two(lab: Lab) -> bytes:
    """Let two workers, w1 and w2, start the same task and fall silent; a third one joins."""
    task = lab.submit(lease_s=5.0)
    silence(lab, "w1", task, 1)
    silence(lab, "w2", task, 2)
    lab.worker("w3")
    lab.tick()
    return task


def test_tasks_of_a_silent_worker_are_retried_at_once_and_carefully() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    silence(lab, "w1", task, 1)
    lab.worker("w2")
    lab.tick()
    assert [message.careful for message in lab.got("w2", m.Task)] == [1]


def test_silence_alone_is_no_evidence_of_a_crash() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    assert lab.outcomes() == []
    assert lab.scheduler.tasks[task].crashes == 0


def test_task_that_silenced_two_workers_waits_and_others_pass_it() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    other = lab.submit(2)
    lab.tick()
    assert lab.tasks_of("w3") == [(other, 1)]
    waits = [event.detail.get("wait_s") for event in lab.happened("requeued")]
    assert waits == [None, 2 * 5.0 + RULES.dead_s]
    assert task.hex() in lab.scheduler.snapshot(lab.now).pending


def test_wait_ends_when_a_hang_would_have_been_noticed() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.pass_time(2 * 5.0 + RULES.dead_s - 0.5, "c1", "w3")
    assert lab.tasks_of("w3") == []
    lab.pass_time(1.0, "c1", "w3")
    assert lab.tasks_of("w3") == [(task, 3)]


def test_hello_of_silent_worker_ends_the_wait() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.deliver("w2", m.Heartbeat())
    lab.tick()
    assert lab.tasks_of("w3") == [], "it may still compute it, and be silent again in a moment"
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w3") == [(task, 3)]
    lab.close("w2")
    assert lab.scheduler.tasks[task].crashes == 0, "it began anew: its end tells nothing of this task"


def test_goodbye_of_silent_worker_ends_the_wait_and_is_no_crash() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.deliver("w2", m.WorkerGoodbye())
    lab.close("w2")
    lab.tick()
    assert lab.tasks_of("w3") == [(task, 3)]
    assert lab.scheduler.tasks[task].crashes == 0


def test_refused_process_has_not_crashed() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    silence(lab, "w1", task, 1)
    lab.close("w1")
    assert lab.scheduler.tasks[task].crashes == 1
    lab.worker("w other", name="w1", instance="other")
    lab.worker("w1 again", name="w1")
    lab.tick()
    assert lab.happened("refused")
    assert lab.scheduler.tasks[task].crashes == 0


def test_hello_of_silent_process_on_another_connection_ends_the_wait() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.worker("w2 again", name="w2")
    lab.tick()
    assert lab.tasks_of("w3") == [(task, 3)]


def test_worker_whose_connection_breaks_after_silence_has_crashed() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.close("w2")
    lab.tick()
    assert lab.scheduler.tasks[task].crashes == 1
    assert lab.tasks_of("w3") == [(task, 3)]


def test_task_that_silences_workers_until_they_end_is_poison() -> None:
    lab = a_lab(workers=0)
    task = lab.submit()
    for attempt in range(1, RULES.max_crashes + 1):
        silence(lab, f"w{attempt}", task, attempt)
        lab.close(f"w{attempt}")
    assert lab.outcomes() == [(task, "POISONED")]
    assert "fallen silent" in lab.happened("failed")[0].detail["error"]


def test_late_result_of_a_silent_worker_ends_the_waiting_task() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.done(task, "w1", 1)
    assert lab.outcomes() == [(task, "RESULT")]
    assert len(lab.scheduler.queue) == 0


def test_late_error_of_a_silent_worker_ends_the_task_too() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.error(task, "ERROR", "w1", 1)
    assert lab.outcomes() == [(task, "ERROR")]
    assert [event.attempt for event in lab.happened("failed")] == [1]
    assert len(lab.scheduler.queue) == 0


def test_late_error_for_another_workers_attempt_changes_nothing() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.error(task, "ERROR", "w1", 2)
    assert lab.outcomes() == []
    assert lab.count("stale_errors") == 1


def test_late_hang_reports_of_silent_workers_count() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.error(task, "HUNG", "w1", 1)
    lab.error(task, "HUNG", "w1", 1)
    assert lab.outcomes() == [], "that was one attempt"
    lab.error(task, "HUNG", "w2", 2)
    assert lab.outcomes() == [(task, "HUNG")]


def test_task_that_waits_can_be_cancelled() -> None:
    lab = a_lab(workers=0)
    task = silence_two(lab)
    lab.deliver("c1", m.Cancel(task))
    assert lab.causes("cancelled") == ["asked"]
    assert len(lab.scheduler.queue) == 0


# --- hung tasks ---------------------------------------------------------------------------------------------


def test_hung_task_is_retried_then_fails_as_hung() -> None:
    lab = a_lab()
    task = lab.submit()
    for attempt in range(1, RULES.max_hangs + 1):
        assert lab.outcomes() == []
        lab.error(task, "HUNG", attempt=attempt)
    assert lab.outcomes() == [(task, "HUNG")]
    assert lab.causes("requeued") == ["hung"]


def test_worker_without_a_report_is_lost_after_twice_the_lease() -> None:
    lab = a_lab()
    task = lab.submit(lease_s=5.0)
    lab.start(task)
    lab.pass_time(2 * 5.0 + RULES.dead_s - 0.1, "c1", "w1")
    assert lab.happened("lost") == []
    lab.pass_time(0.5, "c1", "w1")
    assert lab.causes("lost") == ["lease"]
    assert lab.causes("requeued") == ["lost"]


def test_lost_worker_with_overdue_report_counts_as_hang_of_that_task_only() -> None:
    lab = a_lab(rules=replace(RULES, max_hangs=1))
    hung, other = lab.submit(1, lease_s=5.0), lab.submit(2)
    lab.start(hung)
    lab.pass_time(2 * 5.0 + RULES.dead_s + 0.5, "c1", "w1")
    assert lab.outcomes() == [(hung, "HUNG")]
    lab.worker("w2")
    lab.tick()
    assert lab.tasks_of("w2") == [(other, 2)]


def test_time_as_a_suspect_does_not_count_against_the_lease() -> None:
    lab = a_lab()
    lab.start(lab.submit(lease_s=5.0))
    lab.pass_time(1.5, "c1")
    lab.pass_time(2 * 5.0 + RULES.dead_s - 1.0, "c1", "w1")
    assert len(lab.happened("alive")) == 1
    assert lab.happened("lost") == []


def test_task_that_has_not_started_has_no_lease() -> None:
    lab = a_lab()
    lab.submit(lease_s=1.0)
    lab.pass_time(10.0, "c1", "w1")
    assert lab.happened("lost") == []
