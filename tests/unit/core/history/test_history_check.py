"""The checker finds each broken promise and raises no false alarm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.history import Event, History
from labkit.core.history.check import RULES
from tests.tools.made_histories import CLOCK, demo, note, run, task_id

A, B = task_id(1), task_id(2)


BEGIN = [note(0, "broker_started"), note(0.1, "joined", "worker-1"), note(0.1, "joined", "worker-2")]
SUBMIT = note(1, "submitted", task=A, client="me", needs="edges")
SEND = note(1, "dispatched", "worker-1", A, 1)
DONE = note(2, "done", "worker-1", A, 1)

BROKEN = {
    "two_outcomes": [SUBMIT, SEND, DONE, note(3, "failed", task=A, code="DEADLINE")],
    "no_outcome": [SUBMIT, SEND],
    "never_submitted": [SEND, DONE],
    "after_outcome": [SUBMIT, note(1, "cancelled", task=A), note(2, "dispatched", "worker-1", A, 1)],
    "two_attempts": [SUBMIT, SEND, note(1.5, "dispatched", "worker-2", A, 2), DONE],
    "attempt_backwards": [
        SUBMIT, SEND, note(1.1, "lost", "worker-1"), note(1.1, "requeued", "worker-1", A, 1, cause="lost"),
        note(1.2, "dispatched", "worker-2", A, 1), note(2, "done", "worker-2", A, 1),
    ],
    "not_there": [SUBMIT, note(1, "lost", "worker-1"), SEND, DONE],
    "not_ready": [SUBMIT, note(1, "draining", "worker-1"), SEND, DONE],
    "not_capable": [
        note(0.5, "joined", "worker-3", capabilities="resize,blur"), SUBMIT,
        note(1, "dispatched", "worker-3", A, 1), note(2, "done", "worker-3", A, 1),
    ],
    "never_had_it": [SUBMIT, SEND, note(2, "done", "worker-2", A, 1)],
    "requeue_without_loss": [
        SUBMIT, SEND, note(1.5, "requeued", "worker-1", A, 1, cause="lost"),
        note(1.6, "dispatched", "worker-2", A, 2), note(2, "done", "worker-2", A, 2),
    ],
    "requeue_of_nothing": [SUBMIT, note(1, "requeued", "worker-1", A, 1), SEND, DONE],
    "not_joined": [note(1, "lost", "worker-1"), note(2, "lost", "worker-1")],
    "joined_twice": [note(1, "joined", "worker-1")],
    "clock_backwards": [note(5, "suspect", "worker-1"), note(4, "alive", "worker-1")],
}  # fmt: skip


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_broken_promise_is_reported_alone(rule: str) -> None:
    violations = History([*BEGIN, *BROKEN[rule]]).check(ended=True)
    assert [violation.rule for violation in violations] == [rule]
    assert str(violations[0]) and "{" not in str(violations[0])


@pytest.mark.parametrize("rule", sorted(RULES))
def test_violation_that_a_gap_may_explain_is_not_reported(rule: str) -> None:
    """The gap comes before an event that would be a violation without it."""
    events = BROKEN[rule]
    for cut in range(len(events)):
        history = History([*BEGIN, *events[:cut], note(events[cut].at - CLOCK, "gap"), *events[cut:]])
        found = {violation.rule for violation in history.check(ended=True)}
        assert found <= {rule}


def test_gap_right_before_a_violation_hides_it() -> None:
    history = History([*BEGIN, SUBMIT, SEND, DONE, note(2.5, "gap"), note(3, "failed", task=A)])
    assert history.check(ended=True) == []


def test_violation_wholly_after_a_gap_is_reported() -> None:
    history = History([*BEGIN, note(0.5, "gap"), SUBMIT, SEND, DONE, note(3, "done", "worker-1", A, 1)])
    assert [violation.rule for violation in history.check(ended=True)] == ["two_outcomes"]


@pytest.mark.parametrize("seed", range(10))
def test_honest_runs_with_a_kill_have_no_violations(seed: int) -> None:
    assert History(run(kill_at=1.2, slots=2, seed=seed)).check(ended=True) == []


@given(st.integers(0, 700), st.integers(1, 200))
def test_honest_run_with_a_recorded_gap_has_no_violations(begin: int, missing: int) -> None:
    events = demo()
    end = min(begin + missing, len(events))
    at = events[min(begin, len(events) - 1)].at
    history = History([*events[:begin], Event(at, "gap", detail={"missing": end - begin}), *events[end:]])
    assert history.check(ended=True) == []


def test_recording_of_a_running_cluster_needs_no_outcomes() -> None:
    events = demo()
    assert History(events[:300]).check() == []
    assert History(events).check() == []
    stopped = [*events[:300], Event(events[300].at, "broker_stopped")]
    assert {violation.rule for violation in History(stopped).check()} == {"no_outcome"}


HONEST = {
    "a late result of a lost worker while the task is open": [
        SUBMIT, SEND, note(3, "lost", "worker-1", cause="silent"),
        note(3, "requeued", "worker-1", A, 1, cause="lost"), note(3, "dispatched", "worker-2", A, 2),
        note(3.5, "done", "worker-1", A, 1), note(4, "duplicate", "worker-2", A, 2),
    ],
    "a task that its worker gave back": [
        SUBMIT, SEND, note(1.5, "requeued", "worker-1", A, 1, cause="returned"),
        note(1.6, "dispatched", "worker-2", A, 2), note(2, "done", "worker-2", A, 2),
    ],
    "a requeue that is noted before the loss of the same instant": [
        SUBMIT, SEND, note(1.5, "requeued", "worker-1", A, 1, cause="lost"), note(1.5, "lost", "worker-1"),
        note(1.6, "dispatched", "worker-2", A, 2), note(2, "done", "worker-2", A, 2),
    ],
    "a worker that rejoins": [
        SUBMIT, SEND, note(2, "lost", "worker-1", cause="rejoined"),
        note(2, "requeued", "worker-1", A, 1, cause="lost"), note(2, "joined", "worker-1"),
        note(2, "dispatched", "worker-1", A, 2), note(3, "done", "worker-1", A, 2),
    ],
    "the same id submitted again to a new broker": [
        SUBMIT, SEND, note(2, "broker_started"), note(2.1, "joined", "worker-1"),
        note(2.2, "submitted", task=A, client="me"), note(2.3, "dispatched", "worker-1", A, 1),
        note(3, "done", "worker-1", A, 1),
    ],
    "a second outcome for a client that asked again": [
        SUBMIT, SEND, DONE, note(3, "submitted", task=A, client="me"),
        note(3, "dispatched", "worker-1", A, 1), note(4, "done", "worker-1", A, 1),
    ],
    "a result that came after all, when its task had been submitted again and the broker died": [
        SUBMIT, SEND, DONE, note(3, "submitted", task=A, client="me"), note(4, "broker_started"),
        note(4.5, "submitted", task=B, client="me"), note(5, "cancelled", task=B),
    ],
    "a fault that was noted a little late": [
        note(1, "suspect", "worker-1"), note(0.9, "fault", fault="pause", target="worker-1"),
    ],
    "a task of a client that did not outlive the broker": [SUBMIT, SEND, note(2, "broker_started")],
    "a worker that serves everything": [
        note(0.5, "joined", "worker-3", capabilities=""), SUBMIT,
        note(1, "dispatched", "worker-3", A, 1), note(2, "done", "worker-3", A, 1),
    ],
    "a suspect that was heard again": [
        note(0.5, "suspect", "worker-1"), note(0.6, "alive", "worker-1"), SUBMIT, SEND, DONE,
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(HONEST))
def test_allowed_steps_are_not_violations(what: str) -> None:
    assert History([*BEGIN, *HONEST[what]]).check(ended=True) == []


def test_task_not_submitted_to_the_new_broker_by_its_living_client_is_lost() -> None:
    history = History(
        [
            *BEGIN,
            SUBMIT,
            note(2, "broker_started"),
            note(2.5, "submitted", task=B, client="me"),
            note(3, "cancelled", task=B),
        ]
    )
    (violation,) = history.check(ended=True)
    assert (violation.rule, violation.task) == ("no_outcome", A)
