"""Why tasks were sent to a worker again: read from the events, never guessed from counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from labkit.charts.draw_gantt import outcome_in_words
from labkit.core import history as h
from labkit.core.history import Event, History, causes
from labkit.core.history.causes import REASONS, Causes, SentAgain
from labkit.core.history.index import Index
from labkit.simulation import FAULTS, simulate
from labkit.support.i18n import set_language
from tests.tools.made_histories import note, task_id

TASK, OTHER = task_id(1), task_id(2)
JOINED = (note(0.0, "joined", "worker-1"), note(0.1, "joined", "worker-2"))
SENT = (
    note(1.0, "submitted", task=TASK),
    note(1.0, "dispatched", "worker-2", TASK, 1),
)


def command(t: float, fault: str, target: str = "worker-2") -> Event:
    return note(t, "fault", fault=fault, target=target)


def requeued(t: float, cause: str, task: str = TASK) -> Event:
    return note(t, "requeued", "worker-2", task, 1, cause=cause)


WAYS: dict[str, Sequence[Event]] = {
    causes.KILLED: [command(2, "kill"), note(2.1, "lost", "worker-2", cause="closed"), requeued(2.1, "lost")],
    causes.CLOSED: [note(2.1, "lost", "worker-2", cause="closed"), requeued(2.1, "lost")],
    causes.SILENT: [command(2, "pause"), note(4, "lost", "worker-2", cause="silent"), requeued(4, "lost")],
    causes.LEASE: [note(4, "lost", "worker-2", cause="lease"), requeued(4, "lost")],
    causes.REJOINED: [note(4, "lost", "worker-2", cause="rejoined"), requeued(4, "lost")],
    causes.STOPPING: [
        command(2, "stop"),
        note(2.1, "draining", "worker-2"),
        note(4, "lost", "worker-2", cause="closed"),
        requeued(4, "lost"),
    ],
    causes.LOST: [requeued(4, "lost")],
    causes.RETURNED: [note(2, "draining", "worker-2"), requeued(2, "returned")],
    causes.NOT_TAKEN: [requeued(2, "returned")],
    causes.DRAIN_OVER: [
        note(2, "draining", "worker-2"),
        note(12, "left", "worker-2"),
        requeued(12, "left"),
    ],
    causes.LEFT: [note(12, "left", "worker-2"), requeued(12, "left")],
    causes.HUNG: [requeued(31, "hung"), note(31, "left", "worker-2")],
    causes.HUNG_BESIDE: [
        requeued(31, "hung", OTHER),
        note(31, "left", "worker-2"),
        requeued(31, "left"),
    ],
    causes.UNKNOWN: [requeued(4, "of a later version")],
}


@pytest.mark.parametrize("cause", WAYS)
def test_each_requeue_has_its_own_cause(cause: str) -> None:
    reader = Causes()
    found = [reader.add(event) for event in (*JOINED, *SENT, *WAYS[cause])]
    assert [why for event, why in zip((*JOINED, *SENT, *WAYS[cause]), found, strict=True) if why][-1] == cause
    index = Index()
    index.add([*JOINED, *SENT, *WAYS[cause]])
    assert index.tasks[TASK].attempts[0].cause == cause


@pytest.mark.parametrize("cause", WAYS)
def test_a_task_sent_again_is_listed_with_its_cause(cause: str) -> None:
    again = note(40, "dispatched", "worker-1", TASK, 2)
    reader = SentAgain({TASK})
    for event in (*JOINED, *SENT, *WAYS[cause]):
        reader.add(event)
    assert reader.causes == {} and not reader.ended  # a late result may still end it
    reader.add(again)
    reader.add(note(41, "done", "worker-1", TASK, 2))
    assert reader.causes == {TASK: [cause]} and reader.ended == {TASK}


def test_a_new_broker_is_a_cause_though_attempts_are_counted_from_one_again() -> None:
    reader = SentAgain({TASK, OTHER})
    for event in (
        *JOINED,
        *SENT,
        note(1.0, "submitted", task=OTHER),  # it only waited: the new broker sends it for the first time
        note(2.0, "broker_started", epoch="e2"),
        *(note(2.5, "submitted", task=task) for task in (TASK, OTHER)),
        *(note(2.6, "dispatched", "worker-1", task, 1) for task in (TASK, OTHER)),
    ):
        reader.add(event)
    assert reader.causes == {TASK: [causes.NEW_BROKER]}


def test_a_command_before_the_worker_joined_anew_is_forgotten() -> None:
    reader = Causes()
    for event in (*JOINED, command(2, "kill"), note(2.1, "lost", "worker-2", cause="closed")):
        reader.add(event)
    reader.add(note(3, "joined", "worker-2"))
    reader.add(note(4, "lost", "worker-2", cause="closed"))
    assert reader.add(requeued(4, "lost")) == causes.CLOSED


def test_names_that_any_client_may_note_do_not_fill_the_memory() -> None:
    reader = Causes()
    for number in range(causes.MOST_NAMES + 100):
        reader.add(command(1, "kill", f"nobody-{number}"))
    assert len(reader._workers) == causes.MOST_NAMES
    assert reader.add(requeued(2, "returned")) == causes.NOT_TAKEN


@pytest.mark.parametrize("seed", range(6))
def test_simulated_faults_leave_no_requeue_without_a_known_cause(seed: int) -> None:
    reader = Causes()
    events = simulate(seed, tasks=120, faults=tuple(FAULTS)).history
    found = [why for event in events if (why := reader.add(event))]
    assert len(found) == sum(event.kind == h.REQUEUED for event in events) > 0
    assert not {causes.UNKNOWN, causes.LOST} & set(found)


@pytest.mark.parametrize("language", ["en", "es"])
def test_only_the_loss_of_a_worker_is_called_one(language: str) -> None:
    from labkit.support.i18n import _

    set_language(language)
    try:
        loss = {"en": ("lost", "killed"), "es": ("perd", "mató")}[language]
        for cause, text in REASONS.items():
            assert any(word in _(text) for word in loss) == (cause in causes.LOST_WORKERS), _(text)
    finally:
        set_language("en")


def test_a_chart_names_what_became_of_a_requeued_attempt() -> None:
    assert outcome_in_words("requeued", causes.RETURNED) == "given back"
    assert "lease" in outcome_in_words("requeued", causes.HUNG)
    history = History([*JOINED, *SENT, note(1.1, "started", "worker-2", TASK, 1), *WAYS[causes.HUNG]])
    assert [bar.cause for bar in history.intervals()["worker-2"]] == [causes.HUNG]


def test_the_story_of_a_task_names_the_cause() -> None:
    rows = History([*JOINED, *SENT, *WAYS[causes.RETURNED]]).story(TASK)
    assert [row.why for row in rows if row.event == h.REQUEUED] == [causes.RETURNED]
