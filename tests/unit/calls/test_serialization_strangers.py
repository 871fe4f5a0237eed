"""Decoding under attack: any bytes raise ProtocolError and nothing else."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.calls import serialization
from labkit.calls.serialization import decode_call, decode_value, encode_call
from labkit.core.errors import ProtocolError
from labkit.core.protocol.messages import Payload
from tests.unit.calls.test_serialization import over_the_wire, values

# --- what comes from strangers ------------------------------------------------------------------------------


def refused(tree: Any, *frames: Any) -> str:
    with pytest.raises(ProtocolError) as refusal:
        decode_value(Payload(msgpack.packb(tree), frames))
    return str(refusal.value)


@pytest.mark.parametrize(
    "dtype",
    ["O", "|O", "|O8", "V8", "<U3", "|S3", "<c16", "<M8[ns]", "f8", "=f8", "<f16", "", "<f8,<f8", "x" * 9999],
)
def test_only_plain_dtypes_are_made(dtype: str) -> None:
    assert "may not travel" in refused([serialization.ARRAY, dtype, [1], bytes(8)])
    assert "may not travel" in refused([serialization.LONG_ARRAY, dtype, [1]], bytes(8))
    assert "may not travel" in refused([serialization.NUMBER, dtype, bytes(8)])


@pytest.mark.parametrize(
    "shape",
    [
        [-1],
        [-2, -4],
        [1.0],
        [True],
        [None],
        ["8"],
        [[8]],
        [1, 1, 1, 1, 8],
        [0, 2**50],
        [2**32, 2**32],
        [0, 2**62, 2**62],
        [2**62, 4],
        [msgpack.ExtType(1, b"\x7f" * 5000)],
    ],
)
def test_impossible_shapes_are_refused(shape: list[Any]) -> None:
    assert "shape is impossible" in refused([serialization.ARRAY, "|u1", shape, bytes(8)])
    assert "shape is impossible" in refused([serialization.LONG_ARRAY, "|u1", shape], bytes(8))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("|u1", [7]), ("|u1", [9]), ("<f8", [8]), ("|u1", [0]), ("|u1", []), ("|u1", [2, 2, 2, 2])],
)
def test_a_length_that_does_not_fit_the_shape_is_refused(dtype: str, shape: list[int]) -> None:
    assert "8 bytes came" in refused([serialization.ARRAY, dtype, shape, bytes(8)])
    assert "8 bytes came" in refused([serialization.LONG_ARRAY, dtype, shape], bytes(8))


@pytest.mark.parametrize("length", [0, 7, 9, -8, 2**70])
def test_long_bytes_of_another_length_are_refused(length: int) -> None:
    tree = [serialization.LONG_BYTES, msgpack.ExtType(1, length.to_bytes(10, "big", signed=True))]
    assert "8 bytes came" in refused(tree, bytes(8))


def test_every_frame_belongs_to_exactly_one_value() -> None:
    assert "more frames" in refused(None, b"x")
    assert "more frames" in refused([serialization.LONG_BYTES, 1], b"x", b"")
    assert "fewer frames" in refused([serialization.LONG_BYTES, 1])
    assert "fewer frames" in refused(
        [serialization.LIST, [serialization.LONG_BYTES, 1], [serialization.LONG_ARRAY, "|u1", [1]]], b"x"
    )


@pytest.mark.parametrize(
    "tree",
    [
        [],
        [8],
        [99, 1],
        [-1, 1],
        ["list"],
        [None],
        [[0]],
        [True, 1],
        [1.0, 1],
        [msgpack.ExtType(1, bytes([1]) * 9)],
        [serialization.LONG_BYTES],
        [serialization.LONG_BYTES, "1"],
        [serialization.LONG_BYTES, 1, 1],
        [serialization.LONG_BYTES, True],
        [serialization.ARRAY, "|u1", [1]],
        [serialization.ARRAY, "|u1", 1, b"x"],
        [serialization.ARRAY, b"|u1", [1], b"x"],
        [serialization.LONG_ARRAY, "|u1"],
        [serialization.NUMBER, "<f8"],
        [serialization.NUMBER, "<f8", "12345678"],
        [serialization.NUMBER, "<f8", b"1234"],
        [serialization.NUMBER, "<f8", bytes(16)],
        [serialization.SET, [serialization.LIST]],
        [serialization.SET, {}],
        [serialization.FROZENSET, [serialization.SET]],
        [serialization.SET, [serialization.ARRAY, "|u1", [1], b"x"]],
        {1.5: 1},
        {None: 1},
        {b"x": 1},
        {True: 1},
        [serialization.LIST, {b"x": 1}],
        msgpack.ExtType(2, b"x"),
        msgpack.ExtType(1, b"") and [serialization.LIST, msgpack.ExtType(5, b"")],
        msgpack.Timestamp(1, 2),
        [serialization.ARRAY, "|b1", [2], b"\x01\x02"],
        [serialization.NUMBER, "|b1", b"\x02"],
    ],
)
def test_well_formed_msgpack_of_another_format_is_refused(tree: Any) -> None:
    assert refused(tree)


@pytest.mark.parametrize(
    "call",
    [
        None,
        [],
        ["m:f"],
        ["m:f", []],
        ["m:f", [], {}, 1],
        [b"m:f", [], {}],
        ["m:f", {}, {}],
        ["m:f", [], []],
        ["m:f", [[]], {}],
        ["m:f", [], {1: 1}],
        ["m:f", [], {"k": []}],
        {"m:f": 1},
        [1, [], {}],
    ],
)
def test_a_value_that_is_no_call_is_refused(call: Any) -> None:
    with pytest.raises(ProtocolError):
        decode_call(Payload(msgpack.packb(call)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xd9\x05abc",
        b"\x93\x00\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x01\x01",
        b"\xa1\xff",
        b"\x91" * 5000,
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\xd7\xff" + b"\xff" * 8,
        pickle.dumps([1]),
    ],
)
def test_bytes_that_are_no_msgpack_are_refused(body: bytes) -> None:
    for decode in (decode_value, decode_call):
        with pytest.raises(ProtocolError):
            decode(Payload(body))


def only_protocol_errors(payload: Payload) -> None:
    for decode in (decode_value, decode_call):
        try:
            decode(payload)
        except ProtocolError as refusal:
            assert str(refusal)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=3))
def test_random_bytes_raise_nothing_but_protocol_errors(body: bytes, frames: list[bytes]) -> None:
    only_protocol_errors(Payload(body, tuple(frames)))


tags = st.integers(-1, 9)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=16)
    | tags
    | st.sampled_from(["|u1", "<f8", "|b1", "|O"])
    | st.builds(msgpack.ExtType, st.integers(0, 2), st.binary(max_size=12)),
    lambda children: (
        st.lists(children, max_size=4)
        | st.builds(lambda tag, rest: [tag, *rest], tags, st.lists(children, max_size=4))
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9) | st.none(), children, max_size=3)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(junk, st.lists(st.binary(max_size=16), max_size=3))
def test_random_trees_raise_nothing_but_protocol_errors(tree: Any, frames: list[bytes]) -> None:
    only_protocol_errors(Payload(msgpack.packb(tree), tuple(frames)))
    only_protocol_errors(Payload(msgpack.packb(["m:f", [tree], {"k": tree}]), tuple(frames)))


@settings(deadline=None, max_examples=300)
@given(st.lists(values, max_size=3), st.data())
def test_changed_payloads_raise_nothing_but_protocol_errors(args: list[Any], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serialization, "LARGE_BYTES", data.draw(st.sampled_from([1, 64])))
        payload = over_the_wire(encode_call("m:f", args, {}))
    body, frames = bytearray(payload.body), list(payload.frames)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        change = data.draw(st.sampled_from(["flip", "insert", "delete", "cut", "frame"]))
        if change == "frame":
            if frames:
                frames[at % len(frames)] = frames[at % len(frames)][:-1]
            else:
                frames.append(b"stray")
        elif change == "insert":
            body.insert(at, data.draw(st.integers(0, 255)))
        elif change == "cut":
            del body[at:]
        elif body:
            if change == "flip":
                body[at % len(body)] ^= 1 << data.draw(st.integers(0, 7))
            else:
                del body[at % len(body)]
    only_protocol_errors(Payload(bytes(body), tuple(frames)))


def test_an_announced_length_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        for body in (
            b"\xdd\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            msgpack.packb([serialization.LONG_ARRAY, "<f8", [2**20, 2**19]]),
        ):
            with pytest.raises(ProtocolError):
                decode_value(Payload(body, (b"x",)))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
