"""A reader of events resumes where it stopped."""

from __future__ import annotations

import pytest

from labkit.core import history as h
from labkit.core.history import Event
from labkit.gateway.event_ring import EventRing, Resumed, kinds_of


def ring(count: int, most: int = 10) -> EventRing:
    ring = EventRing(most)
    ring.extend([Event(1.0, h.BROKER_STARTED, detail={"epoch": "c0ffee"})])
    ring.extend(Event(2.0 + n, h.JOINED, worker=f"worker-{n}") for n in range(count - 1))
    return ring


def numbers(resumed: Resumed) -> tuple[int, list[int]]:
    return resumed.missing, [each.number for each in resumed.events]


def test_a_reader_that_comes_back_gets_what_it_lacks() -> None:
    assert ring(5).id_of(3) == "c0ffee-3"
    assert numbers(ring(5).resume("c0ffee-3")) == (0, [4, 5])
    assert numbers(ring(5).resume("c0ffee-5")) == (0, [])


def test_a_reader_without_an_id_begins_now() -> None:
    assert numbers(ring(5).resume("")) == (0, [])


def test_what_is_too_long_ago_is_counted_as_missing() -> None:
    assert numbers(ring(25).resume("c0ffee-3")) == (12, list(range(16, 26)))


@pytest.mark.parametrize(
    "id", ["decaf-3", "c0ffee-99", "nonsense", "c0ffee-", "c0ffee-3x", "-", "c0ffee-" + "9" * 30]
)
def test_an_id_of_another_history_gets_all_that_is_here(id: str) -> None:
    assert numbers(ring(5).resume(id)) == (0, [1, 2, 3, 4, 5])


def test_an_empty_ring_has_nothing() -> None:
    assert numbers(EventRing().resume("c0ffee-3")) == (0, [])


def test_kinds_are_chosen_by_name() -> None:
    assert kinds_of(" done, lost ", ("done", "lost", "left")) == {"done", "lost"}
    assert kinds_of("", ("done", "lost")) == {"done", "lost"}
    with pytest.raises(ValueError, match="lots"):
        kinds_of("done,lots", ("done",))


def test_an_event_is_kept_as_the_bytes_that_all_readers_get() -> None:
    (each,) = ring(5).after(4).events
    first, second, third, end, rest = each.sent.decode().split("\r\n")
    assert (first, second, end, rest) == ("id: c0ffee-5", "event: joined", "", "")
    assert third == 'data: {"at":5.000000,"event":"joined","worker":"worker-3"}'
