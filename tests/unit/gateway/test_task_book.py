"""The latest tasks and what happened to each."""

from __future__ import annotations

import random
from typing import Any

import pytest

from labkit.core import history as h
from labkit.core.history import Event
from labkit.gateway.task_book import CANCELLED, DONE, FAILED, IN_FLIGHT, QUEUED, TaskBook
from labkit.simulation import simulate

TASK = "a" * 32


def event(at: float, kind: str, attempt: int = 0, worker: str = "", task: str = TASK, **detail: Any) -> Event:
    return Event(at, kind, task, attempt, worker, detail)


def book_of(*events: Event) -> TaskBook:
    book = TaskBook()
    book.extend(events)
    return book


SENT = (
    event(1.0, h.SUBMITTED, job="labkit.jobs:echo"),
    event(1.5, h.DISPATCHED, 1, "worker-1"),
    event(1.6, h.STARTED, 1, "worker-1"),
)


def test_a_task_waits_is_in_flight_and_done() -> None:
    book = book_of(SENT[0])
    entry = book.find(TASK)
    assert entry is not None and entry.as_json(2.0) == {
        "status": QUEUED, "kind": None, "error": None, "job": "labkit.jobs:echo", "worker": None,
        "attempt": None, "submitted_ago_s": 1.0, "waited_s": 1.0, "compute_s": None, "attempts": [],
    }  # fmt: skip
    book.extend(SENT[1:])
    assert (entry.state, entry.worker, entry.dispatches) == (IN_FLIGHT, "worker-1", 1)
    ended = book.extend([event(2.0, h.DONE, 1, "worker-1", compute_s=0.25)])
    assert ended == [entry] and entry.state == DONE
    shown = entry.as_json(3.0)
    assert (shown["waited_s"], shown["compute_s"], shown["worker"]) == (0.5, 0.25, "worker-1")


def test_a_lost_worker_puts_it_back_and_the_story_says_why() -> None:
    book = book_of(
        *SENT,
        event(1.7, h.FAULT, task="", fault="kill", target="worker-1"),
        event(1.8, h.LOST, worker="worker-1", task="", cause="closed"),
        event(1.8, h.REQUEUED, 1, "worker-1", cause="lost"),
    )
    entry = book.find(TASK)
    assert entry is not None and (entry.state, entry.worker) == (QUEUED, "")
    assert [(a.worker, a.why) for a in entry.attempts] == [("worker-1", "killed")]
    book.extend([event(1.9, h.DISPATCHED, 2, "worker-2"), event(2.4, h.DONE, 2, "worker-2")])
    assert (entry.state, entry.worker, entry.dispatches) == (DONE, "worker-2", 2)
    assert entry.as_json(3.0)["attempts"][0]["why_again"] == "killed"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("HUNG", "hung"), ("POISONED", "poisoned"), ("NO_WORKER", "no_worker"), ("DEADLINE", "deadline"),
     ("DEADLOCK", "deadlock"), ("FAILED", "error"), ("", "error")],
)  # fmt: skip
def test_a_failure_is_named(code: str, kind: str) -> None:
    entry = book_of(*SENT, event(2.0, h.FAILED, 1, "worker-1", code=code, error="why")).find(TASK)
    assert entry is not None and (entry.state, entry.kind, entry.error) == (FAILED, kind, "why")


def test_nothing_changes_after_the_outcome() -> None:
    book = book_of(*SENT, event(2.0, h.CANCELLED))
    assert book.extend([event(3.0, h.DUPLICATE, 1, "worker-1"), event(4.0, h.DONE, 1, "worker-1")]) == []
    entry = book.find(TASK)
    assert entry is not None and entry.state == CANCELLED


def test_a_new_broker_has_nothing_in_flight() -> None:
    book = book_of(*SENT, Event(5.0, h.BROKER_STARTED))
    entry = book.find(TASK)
    assert entry is not None and entry.state == QUEUED and entry.attempts[0].why == "new_broker"
    book.extend([event(6.0, h.SUBMITTED, job="x"), event(6.1, h.DISPATCHED, 1, "worker-2")])
    assert (entry.job, entry.submitted_at, entry.dispatches) == ("labkit.jobs:echo", 1.0, 2)


def done_at_once(n: int) -> list[Event]:
    task, at = f"{n:032x}", float(n)
    return [
        event(at, h.SUBMITTED, task=task, job="j"),
        event(at + 0.1, h.DISPATCHED, 1, "worker-1", task),
        event(at + 0.2, h.STARTED, 1, "worker-1", task),
        event(at + 0.5, h.DONE, 1, "worker-1", task, compute_s=0.25),
    ]


def test_memory_is_bounded_and_the_latest_stay() -> None:
    book = TaskBook(most_open=10)
    book.extend(event(float(n), h.SUBMITTED, task=f"{n:032x}", job="j") for n in range(100))
    assert len(book) == 10 and book.find(f"{99:032x}") is not None and book.find(f"{89:032x}") is None
    ended = TaskBook(most=10)
    for n in range(100):
        ended.extend(done_at_once(n))
    assert len(ended) == 10 and ended.find(f"{90:032x}") is not None and ended.find(f"{89:032x}") is None
    many = TaskBook()
    many.extend([SENT[0], *(event(2.0 + n, h.DISPATCHED, n, "worker-1") for n in range(1000))])
    entry = many.find(TASK)
    assert entry is not None and len(entry.attempts) == 20 and entry.dispatches == 1000


def test_an_open_task_stays_while_others_end() -> None:
    book = TaskBook(most=10)
    book.extend(SENT)
    for n in range(100):
        book.extend(done_at_once(n))
    entry = book.find(TASK)
    assert entry is not None and entry.state == IN_FLIGHT
    assert book.extend([event(200.0, h.DONE, 1, "worker-1", compute_s=0.25)]) == [entry]
    assert len(book) == 10 and book.find(TASK) is not None


@pytest.mark.parametrize(
    "events",
    [
        done_at_once(7),
        [each for each in done_at_once(7) if each.kind != h.STARTED],
        [*done_at_once(7)[:3], event(8.0, h.DONE, 1, "worker-1", f"{7:032x}")],
        [*done_at_once(7)[:3], event(8.0, h.DONE, 1, "worker-2", f"{7:032x}", compute_s=0.1)],
        [*done_at_once(7)[:3], event(8.0, h.FAILED, 1, "worker-1", f"{7:032x}", code="HUNG", error="e")],
        [*done_at_once(7)[:3], event(8.0, h.CANCELLED, task=f"{7:032x}")],
        [*done_at_once(7)[:1], event(8.0, h.CANCELLED, task=f"{7:032x}")],
        [
            *done_at_once(7)[:1],
            event(8.0, h.DISPATCHED, 1 << 40, "worker-1", f"{7:032x}"),
            done_at_once(7)[3],
        ],
        [
            *done_at_once(7)[:3],
            event(7.3, h.REQUEUED, 1, "worker-1", f"{7:032x}", cause="returned"),
            event(7.4, h.DISPATCHED, 2, "worker-2", f"{7:032x}"),
            event(7.9, h.DONE, 2, "worker-2", f"{7:032x}", compute_s=0.1),
        ],
    ],
)
def test_a_task_that_has_ended_is_found_as_it_ended(events: list[Event]) -> None:
    book = TaskBook()
    (entry,) = book.extend(events)
    found = book.find(f"{7:032x}")
    assert found == entry and found.as_json(9.0) == entry.as_json(9.0)


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_the_history_of_a_simulated_cluster(seed: int) -> None:
    events = simulate(seed).history
    history, book = h.History(events), TaskBook()
    at = 0
    while at < len(events):  # in pieces, as a file is followed
        piece = random.Random(seed + at).randrange(1, 40)
        book.extend(events[at : at + piece])
        at += piece
    compared = 0
    for row in history.ledger():
        entry = book.find(row.task)
        if entry is None:
            continue  # its submission is not in the recording
        compared += 1
        ended = {h.DONE: DONE, h.FAILED: FAILED, h.CANCELLED: CANCELLED}
        if row.outcome in ended:
            assert entry.state == ended[row.outcome], row
        else:
            assert entry.state in (QUEUED, IN_FLIGHT), row
    assert compared > 10
