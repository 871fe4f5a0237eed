"""The wire format: encoded messages come back, and foreign bytes only raise ProtocolError."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.core.errors import ProtocolError
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire

# --- any message of any kind --------------------------------------------------------------------------------

payload_frames = st.lists(st.binary(max_size=40), max_size=3).map(tuple)
payloads = st.builds(m.Payload, st.binary(max_size=60), payload_frames)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "8s": st.binary(min_size=8, max_size=8),
    "16s": st.binary(min_size=16, max_size=16),
    "B": st.integers(0, 2**8 - 1),
    "H": st.integers(0, 2**16 - 1),
    "I": st.integers(0, 2**32 - 1),
    "Q": st.integers(0, 2**64 - 1),
    "f": st.floats(width=32, allow_nan=False),
    "d": st.floats(allow_nan=False),
}
TAILS = {"": (), "bytes": (st.binary(max_size=60),), "payload": (payloads,)}


def fields_of(layout: str) -> list[str]:
    """Split a struct's format into its fields: "!16sdf" into 16s, d and f."""
    found, digits = [], ""
    for letter in layout.lstrip("!"):
        if letter.isdigit():
            digits += letter
        else:
            found.append(digits + letter)
            digits = ""
    return found


def of_kind(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of one kind, with any content that its layout allows."""
    fixed = [FIELDS[field] for field in fields_of(kind.layout.format)[: kind.fixed]]
    strings = [st.text(max_size=20)] * kind.strings
    return st.builds(kind.cls, *fixed, *strings, *TAILS[kind.tail])


messages = st.one_of([of_kind(kind) for kind in wire.KINDS])


def over_the_wire(sent: list[Any]) -> list[Any]:
    return [message for envelope, frames in wire.envelopes(sent) for message in wire.decode(envelope, frames)]


def refused(envelope: bytes, *frames: bytes, allowed: frozenset[type] | None = None) -> str:
    with pytest.raises(ProtocolError) as refusal:
        wire.decode(envelope, frames, allowed)
    return str(refusal.value)


def envelope_of(message: Any) -> bytes:
    return wire.MAGIC + wire.encode(message)[0]


def record(number: int, body: bytes = b"", frames: int = 0, length: int | None = None) -> bytes:
    """Return one record as a stranger may write it."""
    return struct.pack("!BHI", number, frames, len(body) if length is None else length) + body


def a_result(body: bytes = b"", *frames: bytes) -> m.Result:
    return m.Result(bytes(16), 1, 0.5, "worker-1", m.Payload(body, frames))


# --- what is sent comes back --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", wire.KINDS, ids=lambda kind: kind.cls.__name__)
def test_every_kind_survives_the_wire(kind: Any) -> None:
    @settings(max_examples=15)
    @given(of_kind(kind))
    def comes_back(message: Any) -> None:
        (received,) = over_the_wire([message])
        assert type(received) is kind.cls
        assert received == message

    comes_back()


@settings(max_examples=60)
@given(st.lists(messages, max_size=12))
def test_many_messages_arrive_in_order(sent: list[Any]) -> None:
    received = over_the_wire(sent)
    assert received == sent
    assert [type(message) for message in received] == [type(message) for message in sent]


def test_every_kind_has_its_own_number_and_is_in_the_table() -> None:
    numbers, classes = {kind.number for kind in wire.KINDS}, {kind.cls for kind in wire.KINDS}
    assert len(numbers) == len(classes) == len(wire.KINDS)
    assert classes == m.FROM_CLIENT | m.FROM_WORKER | m.TO_CLIENT | m.TO_WORKER


@pytest.mark.parametrize("text", ["", "é", "\ud800 lone", "x" * 100_000, "é" * 50_000])
def test_any_text_can_be_sent_and_is_at_most_cut(text: str) -> None:
    (received,) = over_the_wire([m.WorkerRefused(text)])
    assert text.encode("utf-8", "replace").decode().startswith(received.reason)
    assert len(received.reason.encode()) >= min(len(text), 0xFFFF - 3)


# --- coalescing ---------------------------------------------------------------------------------------------


def test_small_messages_share_an_envelope() -> None:
    assert len(list(wire.envelopes([m.Heartbeat(), a_result(b"x"), m.Noted(1)]))) == 1


def test_nothing_to_send_is_no_envelope() -> None:
    assert list(wire.envelopes([])) == []


def test_message_with_frames_travels_alone_and_in_its_place() -> None:
    sent: list[m.Message] = [m.Heartbeat(), m.Noted(1), a_result(b"x", b"frame"), m.Noted(2)]
    packed = list(wire.envelopes(sent))
    assert [wire.decode(*one) for one in packed] == [sent[:2], sent[2:3], sent[3:]]
    assert [frames for _, frames in packed] == [(), (b"frame",), ()]


def test_payload_frames_pass_uncopied() -> None:
    frame = bytearray(100)
    ((envelope, frames),) = wire.envelopes([a_result(b"x", frame)])  # type: ignore[arg-type]
    assert frames[0] is frame
    (received,) = wire.decode(envelope, frames)
    assert isinstance(received, m.Result) and received.payload.frames[0] is frame


def test_envelope_is_closed_when_it_is_full() -> None:
    sent = [a_result(bytes(1000)) for _ in range(200)]
    packed = list(wire.envelopes(sent))
    assert len(packed) > 1
    assert all(len(envelope) <= wire.COALESCE_BYTES + len(wire.MAGIC) for envelope, _ in packed)
    assert over_the_wire(sent) == sent


def test_record_larger_than_an_envelope_still_travels_alone() -> None:
    sent: list[m.Message] = [m.Heartbeat(), a_result(bytes(wire.COALESCE_BYTES + 1)), m.Heartbeat()]
    assert len(list(wire.envelopes(sent))) == 3
    assert over_the_wire(sent) == sent


def test_huge_envelope_of_several_records_is_refused() -> None:
    assert "several records" in refused(wire.MAGIC + record(0x01) * (wire.COALESCE_BYTES // 7 + 1))


# --- what strangers send ------------------------------------------------------------------------------------


def only_protocol_errors(envelope: bytes, frames: tuple[bytes, ...] = ()) -> None:
    try:
        wire.decode(envelope, frames)
    except ProtocolError:
        pass


@settings(max_examples=150)
@given(st.binary(max_size=80), payload_frames)
def test_random_bytes_raise_only_protocol_errors(garbage: bytes, frames: tuple[bytes, ...]) -> None:
    only_protocol_errors(garbage, frames)
    only_protocol_errors(wire.MAGIC + garbage, frames)


@settings(max_examples=150)
@given(st.sampled_from(wire.KINDS), st.binary(max_size=80), st.integers(0, 3), payload_frames)
def test_random_bodies_raise_only_protocol_errors(
    kind: Any, body: bytes, owned: int, frames: tuple[bytes, ...]
) -> None:
    only_protocol_errors(wire.MAGIC + record(kind.number, body, owned), frames)


@settings(max_examples=150)
@given(messages, st.data())
def test_mutated_messages_raise_only_protocol_errors(message: Any, data: st.DataObject) -> None:
    encoded, frames = wire.encode(message)
    envelope = bytearray(wire.MAGIC + encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        envelope[data.draw(st.integers(0, len(envelope) - 1))] = data.draw(st.integers(0, 255))
    only_protocol_errors(bytes(envelope), frames)


@settings(max_examples=100)
@given(messages, st.data())
def test_truncated_message_is_refused(message: Any, data: st.DataObject) -> None:
    encoded, frames = wire.encode(message)
    envelope = wire.MAGIC + encoded
    refused(envelope[: data.draw(st.integers(len(wire.MAGIC) + 1, len(envelope) - 1))], *frames)


@settings(max_examples=100)
@given(messages, st.integers(-2, 2).filter(bool))
def test_wrong_number_of_frames_is_refused(message: Any, difference: int) -> None:
    encoded, frames = wire.encode(message)
    wrong = (frames + (b"", b""))[: len(frames) + difference] if difference > 0 else frames[:difference]
    if len(wrong) != len(frames):
        refused(wire.MAGIC + encoded, *wrong)


def test_frames_of_a_kind_that_owns_none_are_refused() -> None:
    assert "Heartbeat" in refused(wire.MAGIC + record(0x01, frames=1), b"frame")


def test_longer_body_than_its_fields_is_refused() -> None:
    assert "does not match" in refused(wire.MAGIC + record(0x27, bytes(5)))


def test_string_longer_than_its_record_is_refused() -> None:
    refused(wire.MAGIC + record(0x41, struct.pack("!H", 9) + b"abc"))


def test_text_that_is_no_utf8_is_refused() -> None:
    refused(wire.MAGIC + record(0x41, struct.pack("!H", 2) + b"\xff\xfe"))


def test_unknown_kind_is_refused_by_its_number() -> None:
    assert "153" in refused(wire.MAGIC + record(0x99))


def test_another_protocol_is_distinguished_from_another_version() -> None:
    assert "not a labkit message" in refused(b"GET / HTTP/1.1")
    assert "version 02" in refused(b"L\x02")
    refused(b"")


# --- who may send what --------------------------------------------------------------------------------------

SETS: dict[str, frozenset[type]] = {
    "client": m.FROM_CLIENT, "worker": m.FROM_WORKER, "to_client": m.TO_CLIENT, "to_worker": m.TO_WORKER,
}  # fmt: skip


@pytest.mark.parametrize("side", SETS)
def test_peer_may_send_its_own_kinds_and_no_others(side: str) -> None:
    for kind in wire.KINDS:
        body = bytes(kind.layout.size)
        envelope = wire.MAGIC + record(kind.number, body)
        if kind.cls in SETS[side]:
            assert type(wire.decode(envelope, (), SETS[side])[0]) is kind.cls
        else:
            assert "may not send" in refused(envelope, allowed=SETS[side])


@pytest.mark.parametrize("make", [m.Started, m.Returned])
def test_client_cannot_speak_as_a_worker(make: Callable[..., Any]) -> None:
    message = make(bytes(16), 1, *([0] if make is m.Started else []))
    refused(envelope_of(message), allowed=m.FROM_CLIENT)
