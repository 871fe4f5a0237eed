"""One event and its line of JSON: a written event can be read, and garbage is a ProtocolError."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.errors import InvariantBroken, ProtocolError
from labkit.core.history import DISPATCHED, DONE, SUBMITTED, Event, decode_event, encode_event

TASK = "9f" * 16
ENVELOPE = {"at", "event", "task", "attempt", "worker"}

anything_json_can_say = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
usual_or_not = st.floats(0, 100) | st.integers() | st.text() | anything_json_can_say
"""Values for the usual names of details, of the right type and of others."""
events = st.builds(
    Event,
    at=st.floats(min_value=-1e9, max_value=1e9),
    kind=st.sampled_from([SUBMITTED, DISPATCHED, DONE]) | st.text(min_size=1),
    task=st.text(),
    attempt=st.integers(min_value=0),
    worker=st.text(),
    detail=st.just({})
    | st.fixed_dictionaries({"compute_s": usual_or_not, "bytes": usual_or_not})
    | st.fixed_dictionaries({"job": usual_or_not, "client": usual_or_not, "bytes": usual_or_not})
    | st.dictionaries(st.text().filter(lambda key: key not in ENVELOPE), anything_json_can_say, max_size=4),
)


def test_line_has_the_events_fields_and_the_details_beside_them() -> None:
    line = encode_event(Event(1.2345674, DISPATCHED, TASK, 1, "worker-2"))
    assert line == f'{{"at":1.234567,"event":"dispatched","task":"{TASK}","attempt":1,"worker":"worker-2"}}'
    line = encode_event(Event(2.0, DONE, TASK, 2, "worker-1", {"compute_s": 0.25, "bytes": 12}))
    assert json.loads(line) == {
        "at": 2.0,
        "event": "done",
        "task": TASK,
        "attempt": 2,
        "worker": "worker-1",
        "compute_s": 0.25,
        "bytes": 12,
    }


@pytest.mark.parametrize(
    "event",
    [
        Event(1.0, SUBMITTED, TASK, 0, "", {"job": "labkit.jobs:echo", "client": "ana", "bytes": 12}),
        Event(1.0, DISPATCHED, TASK, 1, "worker-2"),
        Event(1.0, DONE, TASK, 1, "worker-2", {"compute_s": 0.25, "bytes": 12}),
    ],
    ids=lambda event: event.kind,
)
def test_fast_writers_write_the_same_line_as_the_general_one(event: Event) -> None:
    """The fast writers differ from the general one only in speed."""
    odd = event._replace(detail={**event.detail, "more": 1})
    assert encode_event(event) == encode_event(odd).replace(',"more":1', "")


def test_fields_that_are_empty_are_left_out() -> None:
    assert encode_event(Event(3.0, "broker_stopped")) == '{"at":3.000000,"event":"broker_stopped"}'


@given(events)
def test_written_event_is_one_line_of_ascii_json_and_reads_back_equal(event: Event) -> None:
    line = encode_event(event)
    assert line.isascii() and len(line.splitlines()) == 1
    expected: dict[str, Any] = {"event": event.kind, **event.detail}
    expected |= {name: getattr(event, name) for name in ("task", "attempt", "worker") if getattr(event, name)}
    read = json.loads(line)
    assert abs(read.pop("at") - event.at) <= 1e-6
    assert read == expected
    back = decode_event(line)
    assert abs(back.at - event.at) <= 1e-6
    assert back[1:] == event[1:]


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=2, max_size=20))
def test_order_of_instants_survives_writing(instants: list[float]) -> None:
    back = [decode_event(encode_event(Event(at, DONE))).at for at in sorted(instants)]
    assert back == sorted(back)


def test_details_unknown_to_json_are_converted() -> None:
    detail = {
        "needs": frozenset({"sharpen", "edges"}),
        "pair": (1, 2),
        "slow": math.inf,
        "raw": b"x",
        "deep": {"nan": math.nan, 1: True},
    }
    back = decode_event(encode_event(Event(0.0, SUBMITTED, TASK, detail=detail)))
    assert back.detail == {
        "needs": ["edges", "sharpen"],
        "pair": [1, 2],
        "slow": None,
        "raw": "b'x'",
        "deep": {"nan": None, "1": True},
    }


@pytest.mark.parametrize("name", sorted(ENVELOPE))
def test_detail_named_like_a_field_of_the_event_is_refused(name: str) -> None:
    with pytest.raises(InvariantBroken, match=name):
        encode_event(Event(0.0, DONE, detail={name: 1}))


def test_unknown_kind_is_kept() -> None:
    assert decode_event('{"at":1,"event":"teleported","to":"mars"}') == Event(
        1.0, "teleported", detail={"to": "mars"}
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "null",
        "3",
        "[]",
        '"at"',
        "{",
        "{}",
        '{"at":1}',
        '{"event":"done"}',
        '{"at":1.0,"event":"do',
        '{"at":"1","event":"done"}',
        '{"at":true,"event":"done"}',
        '{"at":NaN,"event":"done"}',
        '{"at":1e999,"event":"done"}',
        '{"at":1,"event":""}',
        '{"at":1,"event":7}',
        '{"at":1,"event":"done","task":7}',
        '{"at":1,"event":"done","attempt":-1}',
        '{"at":1,"event":"done","attempt":1.5}',
        '{"at":1,"event":"done","attempt":true}',
        '{"at":1,"event":"done","worker":null}',
        '{"at":1,"event":"done"} {"at":1,"event":"done"}',
        '{"at":1' + "0" * 400 + ',"event":"done"}',
        '{"at":' + "9" * 5000 + ',"event":"done"}',
        "[" * 100_000,
        '{"at":1,"event":"done","x":' + "[" * 100_000,
        "\x00\xff",
        "\ud800",
    ],
)
def test_garbage_is_refused_as_a_protocol_error(line: str) -> None:
    with pytest.raises(ProtocolError, match="this is not an event"):
        decode_event(line)


@given(st.text())
def test_any_text_is_an_event_or_a_protocol_error(line: str) -> None:
    try:
        assert isinstance(decode_event(line), Event)
    except ProtocolError as error:
        assert "not an event" in str(error)
