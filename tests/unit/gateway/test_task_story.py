"""One task's story: submitted, each attempt, why again, the outcome."""

from __future__ import annotations

from labkit.core import history as h
from labkit.core.history import Event
from labkit.gateway.task_book import MOST_ATTEMPTS, TaskBook
from labkit.gateway.task_story import story
from labkit.support.i18n import in_language

JOB = {"job": "labkit.jobs:process_encoded", "client": "c", "bytes": 9}


def book(*events: Event) -> TaskBook:
    made = TaskBook()
    made.extend(events)
    return made


KILLED = book(
    Event(10.0, h.SUBMITTED, "a", detail=JOB),
    Event(10.1, h.DISPATCHED, "a", 1, "worker-2"),
    Event(10.2, h.STARTED, "a", 1, "worker-2"),
    Event(10.3, h.FAULT, detail={"fault": "kill", "target": "worker-2"}),
    Event(10.4, h.LOST, "", 0, "worker-2", {"cause": "closed"}),
    Event(10.4, h.REQUEUED, "a", 1, "worker-2", {"cause": "lost"}),
    Event(10.5, h.DISPATCHED, "a", 2, "worker-1"),
    Event(10.9, h.DONE, "a", 2, "worker-1", {"compute_s": 0.35}),
)


def test_a_story_tells_who_why_again_and_the_outcome() -> None:
    entry = KILLED.find("a")
    assert entry is not None
    told = story(entry, 20.0, 5.0)
    assert [(row["t"], row["text"]) for row in told["rows"]] == [
        (5.0, "submitted: process_encoded"),
        (5.1, "sent to worker-2 as attempt 1"),
        (5.2, "worker-2 began to compute it"),
        (5.4, "first in the queue again, because attempt 1 ended: its worker was killed"),
        (5.5, "sent to worker-1 as attempt 2"),
        (5.9, "worker-1 delivered the result after computing for 0.35 s"),
    ]
    assert (told["state"], told["attempts"], told["open_for_s"]) == ("done", 2, None)
    assert [row["mood"] for row in told["rows"]][3:] == ["harm", "plain", "good"]


def test_a_story_is_in_the_readers_language() -> None:
    entry = KILLED.find("a")
    assert entry is not None
    with in_language("es"):
        told = story(entry, 20.0, 5.0)
    assert told["rows"][0]["text"] == "enviada: process_encoded"
    assert not any("attempt" in row["text"] for row in told["rows"])


def test_an_open_task_and_failed_ones_have_stories() -> None:
    made = book(
        Event(1.0, h.SUBMITTED, "open", detail=JOB),
        Event(1.0, h.SUBMITTED, "bad", detail=JOB),
        Event(1.1, h.DISPATCHED, "bad", 1, "worker-1"),
        Event(1.2, h.FAILED, "bad", 1, "worker-1", {"code": "ERROR", "error": "too dark"}),
        Event(1.0, h.SUBMITTED, "off", detail=JOB),
        Event(1.3, h.CANCELLED, "off"),
    )
    stories = {}
    for name in ("open", "bad", "off"):
        entry = made.find(name)
        assert entry is not None
        stories[name] = story(entry, 3.0, 1.0)
    assert stories["open"]["open_for_s"] == 2.0 and len(stories["open"]["rows"]) == 1
    assert stories["bad"]["rows"][-1]["text"] == "failed as error: too dark"
    assert stories["off"]["rows"][-1]["text"] == "cancelled"


def test_of_very_many_attempts_the_latest_are_told() -> None:
    events = [Event(1.0, h.SUBMITTED, "a", detail=JOB)]
    for n in range(1, MOST_ATTEMPTS + 6):
        events.append(Event(1.0 + n, h.DISPATCHED, "a", n, "worker-1"))
        events.append(Event(1.5 + n, h.REQUEUED, "a", n, "worker-1", {"cause": "returned"}))
    entry = book(*events).find("a")
    assert entry is not None
    texts = [row["text"] for row in story(entry, 99.0, 0.0)["rows"]]
    assert texts[1] == "5 earlier attempts are no longer known"
    assert sum(text.startswith("sent to") for text in texts) == MOST_ATTEMPTS


def test_a_second_outcome_is_counted() -> None:
    made = book(
        Event(1.0, h.SUBMITTED, "a", detail=JOB),
        Event(1.1, h.DISPATCHED, "a", 1, "worker-1"),
        Event(1.2, h.DONE, "a", 1, "worker-1", {"compute_s": 0.1}),
    )
    assert made.twice == 0
    made.extend([Event(1.3, h.DONE, "a", 1, "worker-1", {"compute_s": 0.1})])
    assert made.twice == 1


def test_a_task_that_its_client_submits_again_has_no_second_delivery() -> None:
    """Its client did not receive the outcome: it is the same task once more, computed again."""
    events = [
        Event(1.0, h.SUBMITTED, "a", detail=JOB),
        Event(1.1, h.DISPATCHED, "a", 1, "worker-1"),
        Event(1.2, h.DONE, "a", 1, "worker-1", {"compute_s": 0.1}),
        Event(2.0, h.SUBMITTED, "a", detail=JOB),
        Event(2.1, h.DISPATCHED, "a", 1, "worker-2"),
    ]
    made = TaskBook(most=2)
    made.extend(events)
    again = made.find("a")
    assert again is not None and (again.state, again.worker, len(made)) == ("in_flight", "worker-2", 1)
    made.extend([Event(2.2, h.DONE, "a", 1, "worker-2", {"compute_s": 0.1})])
    assert made.twice == 0
    made.extend([Event(2.3, h.DONE, "a", 1, "worker-2", {"compute_s": 0.1})])
    assert made.twice == 1, "without a new submission it is a second delivery"
    for task in "bc":
        made.extend([Event(3.0, h.SUBMITTED, task, detail=JOB), Event(3.1, h.CANCELLED, task)])
    assert len(made) == 2 and made.find("a") is None, "the oldest is forgotten"
