"""The cost of a fault: the chain of instants, compared with runs whose truth is known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from labkit.core.history import History
from tests.tools.made_histories import demo, note, run, task_id

A = task_id(1)


def test_kill_is_a_chain_with_the_seconds_of_each_link() -> None:
    (recovery,) = History(demo()).recoveries()
    assert (recovery.fault, recovery.target, recovery.cause) == ("kill", "worker-2", "closed")
    assert recovery.fault_at == pytest.approx(1.5)
    assert recovery.detected_at == pytest.approx(1.52)
    assert recovery.requeued_at == pytest.approx(1.52)
    assert recovery.detection_s == pytest.approx(0.02)
    assert recovery.requeue_s == pytest.approx(0.0)
    assert recovery.rework_s is not None and 0.04 < recovery.rework_s < 0.13
    assert recovery.recovery_s == pytest.approx(0.02 + recovery.rework_s)
    assert len(recovery.held) == 1 and recovery.lost == ()
    assert [name for name, _ in recovery.links] == ["fault", "detected", "requeued", "elsewhere", "restored"]
    assert all(a[1] <= b[1] for a, b in pairwise(recovery.links))


@pytest.mark.parametrize("seed", range(20))
def test_throughput_is_restored_when_the_killed_worker_is_back(seed: int) -> None:
    (recovery,) = History(run(kill_at=1.5, back_after=0.9, seed=seed)).recoveries()
    assert recovery.restored_s == pytest.approx(0.9, abs=0.2)
    assert recovery.unrestored == ""
    assert recovery.usual_per_s is not None and 55 < recovery.usual_per_s < 65  # three workers, 50 ms each


@pytest.mark.parametrize("seed", range(20))
def test_throughput_that_stays_low_is_never_restored(seed: int) -> None:
    (recovery,) = History(run(kill_at=1.5, back_after=None, seed=seed)).recoveries()
    assert (recovery.restored_at, recovery.unrestored) == (None, "never")
    assert recovery.restoration_s is recovery.restored_s is None
    assert recovery.recovery_s is not None


def test_sixty_tasks_are_enough_to_measure_restoration() -> None:
    (recovery,) = History(run(tasks=60, kill_at=0.9, back_after=0.4)).recoveries()
    assert recovery.restored_s == pytest.approx(0.4, abs=0.15)


def test_too_few_results_before_the_fault_leave_restoration_unknown() -> None:
    (recovery,) = History(run(kill_at=0.6)).recoveries()
    assert (recovery.restored_at, recovery.unrestored) == (None, "few_before")
    assert recovery.recovery_s is not None


def test_too_little_work_after_the_fault_leaves_restoration_unknown() -> None:
    (recovery,) = History(run(tasks=60, kill_at=1.4, back_after=None)).recoveries()
    assert (recovery.restored_at, recovery.unrestored) == (None, "few_after")


def test_work_long_before_the_fault_does_not_set_the_usual_rate() -> None:
    first = run(tasks=90)
    later = [
        event._replace(at=event.at + 60.0, task=event.task and "f" + event.task[1:])
        for event in run(tasks=90, kill_at=0.6)
        if event.kind != "broker_started"
    ]
    (recovery,) = History([*first[:-1], *later]).recoveries()
    assert recovery.unrestored == "few_before"


def test_crash_without_an_injected_fault_begins_at_its_detection() -> None:
    (recovery,) = History(run(kill_at=1.5, back_after=0.9, injected=False)).recoveries()
    assert (recovery.fault, recovery.target, recovery.cause) == ("", "worker-2", "closed")
    assert recovery.fault_at is None and recovery.detection_s is None
    assert recovery.began_at == recovery.detected_at == pytest.approx(1.52)
    assert recovery.recovery_s == recovery.rework_s
    assert recovery.restored_s == pytest.approx(0.88, abs=0.2)


def test_fault_without_a_loss_has_no_detection() -> None:
    events = [*run(), note(1.0, "fault", fault="pause", target="worker-1")]
    events.sort(key=lambda event: event.at)
    (recovery,) = History(events).recoveries()
    assert (recovery.detected_at, recovery.held, recovery.recovery_s) == (None, (), None)
    assert recovery.restored_s == pytest.approx(0.0, abs=0.1)


def test_fault_of_redis_has_no_links_but_itself() -> None:
    (recovery,) = History(
        [note(0, "broker_started"), note(1, "fault", fault="kill", target="redis")]
    ).recoveries()
    assert [name for name, _ in recovery.links] == ["fault"]


def test_healing_and_a_polite_stop_are_no_faults() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(0.1, "joined", "worker-1"),
            note(1, "fault", fault="stop", target="worker-1"),
            note(1, "draining", "worker-1"),
            note(2, "left", "worker-1"),
            note(3, "fault", fault="start", target="worker-1"),
            note(3.5, "joined", "worker-1"),
        ]
    )
    assert history.recoveries() == []


def test_stop_that_ended_in_a_loss_is_its_cause() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(0.1, "joined", "worker-1"),
            note(1, "fault", fault="stop", target="worker-1"),
            note(1.2, "lost", "worker-1", cause="closed"),
        ]
    )
    (recovery,) = history.recoveries()
    assert recovery.fault == "stop"
    assert (recovery.fault_at, recovery.detected_at) == pytest.approx((1.0, 1.2))


def test_crash_long_after_a_pause_that_passed_is_not_blamed_on_it() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(0.1, "joined", "worker-1"),
            note(1, "fault", fault="pause", target="worker-1"),
            note(2, "suspect", "worker-1"),
            note(2.5, "fault", fault="resume", target="worker-1"),
            note(2.6, "alive", "worker-1"),
            note(60, "lost", "worker-1", cause="closed"),
        ]
    )
    pause, crash = history.recoveries()
    assert (pause.fault, pause.detected_at) == ("pause", None)
    assert (crash.fault, crash.detected_at) == ("", 60.0)


def test_frozen_worker_that_rejoins_is_one_recovery() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(0.1, "joined", "worker-1"),
            note(0.2, "submitted", task=A),
            note(0.2, "dispatched", "worker-1", A, 1),
            note(1, "fault", fault="pause", target="worker-1"),
            note(2.1, "suspect", "worker-1"),
            note(3.1, "lost", "worker-1", cause="silent"),
            note(3.1, "requeued", "worker-1", A, 1, cause="lost"),
            note(4, "fault", fault="resume", target="worker-1"),
            note(4.2, "joined", "worker-1"),
            note(4.2, "dispatched", "worker-1", A, 2),
            note(4.3, "done", "worker-1", A, 2),
        ]
    )
    (recovery,) = history.recoveries()
    assert (recovery.fault, recovery.cause) == ("pause", "silent")
    assert recovery.detection_s == pytest.approx(2.1)
    assert recovery.recovery_s == pytest.approx(3.3)  # the later attempt counts, on whichever process


def test_late_result_of_the_lost_attempt_is_no_result_elsewhere() -> None:
    history = History(
        [
            note(0, "submitted", task=A),
            note(0.2, "dispatched", "worker-1", A, 1),
            note(3, "lost", "worker-1", cause="silent"),
            note(3, "requeued", "worker-1", A, 1, cause="lost"),
            note(3.5, "done", "worker-1", A, 1),
        ]
    )
    (recovery,) = history.recoveries()
    assert recovery.first_result_elsewhere_at is None and recovery.lost == ()


def test_task_without_an_outcome_is_listed_as_lost() -> None:
    history = History([note(0, "dispatched", "worker-1", A, 1), note(1, "lost", "worker-1", cause="closed")])
    assert history.recoveries()[0].lost == (A,)


def test_two_kills_of_two_workers_are_two_recoveries_in_order() -> None:
    events = run(kill_at=1.0, victim="worker-3", back_after=0.5)
    events += [
        note(2.0, "fault", fault="kill", target="worker-1"),
        note(2.01, "lost", "worker-1", cause="closed"),
    ]
    events.sort(key=lambda event: event.at)
    assert [(r.target, r.fault) for r in History(events).recoveries()] == [
        ("worker-3", "kill"),
        ("worker-1", "kill"),
    ]


def test_kill_of_a_broker_is_measured_from_its_successors_start() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(1, "submitted", task=A),
            note(1, "dispatched", "worker-1", A, 1),
            note(2, "fault", fault="kill", target="broker"),
            note(2.8, "broker_started"),
            note(3.0, "submitted", task=A),
            note(3.0, "dispatched", "worker-1", A, 1),
            note(3.5, "done", "worker-1", A, 1),
        ]
    )
    (recovery,) = history.recoveries()
    assert (recovery.target, recovery.fault, recovery.held, recovery.lost) == ("broker", "kill", (A,), ())
    assert recovery.detection_s == pytest.approx(0.8)
    assert recovery.requeue_s == pytest.approx(0.2)
    assert recovery.rework_s == pytest.approx(0.5)
    assert recovery.recovery_s == pytest.approx(1.5)


def test_broker_that_was_shut_down_and_started_again_is_no_recovery() -> None:
    history = History([note(0, "broker_started"), note(5, "broker_stopped"), note(9, "broker_started")])
    assert history.recoveries() == []


def test_crash_of_a_broker_is_measured_from_its_successors_start() -> None:
    history = History([note(0, "broker_started"), note(1, "submitted", task=A), note(9, "broker_started")])
    (recovery,) = history.recoveries()
    assert (recovery.target, recovery.fault, recovery.fault_at, recovery.detected_at) == (
        "broker",
        "",
        None,
        9.0,
    )


def test_harmless_broker_faults_are_separate_recoveries_from_the_kill() -> None:
    history = History(
        [
            note(0, "broker_started"),
            note(1, "fault", fault="garbage", target="broker"),
            note(2, "fault", fault="kill", target="broker"),
            note(3, "broker_started"),
        ]
    )
    told = [(recovery.fault, recovery.detected_at) for recovery in history.recoveries()]
    assert told == [("garbage", None), ("kill", 3.0)]
