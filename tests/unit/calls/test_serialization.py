"""The format of calls and values: encoded values arrive unchanged, and others are refused by name."""

from __future__ import annotations

import enum
import os
import random
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labkit.calls import serialization
from labkit.calls.serialization import decode_call, decode_value, encode_call, encode_value
from labkit.core.errors import CannotTravel, ProtocolError
from labkit.core.protocol.messages import Payload

DTYPES = [
    "?",
    "i1",
    "u1",
    *(o + k for o in "<>" for k in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")),
]


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal in value and type at every level; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, float):
        return repr(a) == repr(b)  # tells 0.0 from -0.0, and takes NaN for NaN
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def there_and_back(value: Any) -> Any:
    return decode_value(encode_value(value))


def over_the_wire(payload: Payload, carrier: Callable[[bytes], Any] = bytes) -> Payload:
    """Return the payload as the receiver holds it: the same bytes in other memory."""
    return Payload(bytes(payload.body), tuple(carrier(bytes(frame)) for frame in payload.frames))


# --- there and back -----------------------------------------------------------------------------------------

hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=40),
    lambda children: st.tuples(children, children) | st.frozensets(children, max_size=3),
    max_leaves=5,
)
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
numbers = (
    st.sampled_from(DTYPES)
    .map(np.dtype)
    .flatmap(lambda dtype: hnp.from_dtype(dtype).map(lambda number: dtype.newbyteorder("=").type(number)))
)
values = st.recursive(
    hashables | st.floats() | numbers | arrays | st.text(st.characters(codec=None), max_size=10),
    lambda children: (
        st.lists(children, max_size=4)
        | st.tuples(children, children)
        | st.dictionaries(st.text(max_size=5) | st.integers(), children, max_size=4)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_every_value_arrives_unchanged(value: Any) -> None:
    assert same(decode_value(over_the_wire(encode_value(value))), value)


@settings(deadline=None)
@given(st.text(min_size=1), st.lists(values, max_size=4), st.dictionaries(st.text(), values, max_size=3))
def test_every_call_arrives_unchanged(name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    assert same(decode_call(over_the_wire(encode_call(name, args, kwargs))), (name, tuple(args), kwargs))


@settings(deadline=None)
@given(values, st.sampled_from([bytes, bytearray, memoryview, zmq.Frame]))
def test_every_value_arrives_through_frames_of_its_own_too(
    value: Any, carrier: Callable[[bytes], Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serialization, "LARGE_BYTES", 1)
        assert same(decode_value(over_the_wire(encode_value(value), carrier)), value)


@pytest.mark.parametrize(
    "number",
    [0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**300, -(10**300), 2**127, 2**128],
)
def test_integers_have_no_limit(number: int) -> None:
    assert there_and_back(number) == number
    assert there_and_back({number: [number]}) == {number: [number]}


def test_values_that_python_calls_equal_keep_their_types() -> None:
    value = [
        True,
        1,
        1.0,
        (1,),
        [1],
        {1},
        frozenset({1}),
        {"1": 1},
        {1: "1"},
        b"1",
        "1",
        -0.0,
        None,
        "",
        b"",
        (),
        [],
    ]
    assert same(there_and_back(value), value)


def test_text_may_hold_undecodable_bytes_of_a_file_name() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert there_and_back(name) == name


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_keeps_its_byte_order(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    result = there_and_back(array)
    assert same(result, array)
    assert result.dtype.str == array.dtype.str


@pytest.mark.parametrize("size", [100, 100_000])
def test_arrays_with_gaps_backwards_or_in_fortran_order_arrive_in_c_order(size: int) -> None:
    array = np.arange(size, dtype=np.int32).reshape(-1, 10)
    for view in (array[::2], array[::-1], array[:, 3:5], array.T, np.asfortranarray(array)):
        result = there_and_back(view)
        assert np.array_equal(result, view)
        assert result.flags.c_contiguous


def test_a_read_only_array_travels() -> None:
    array = np.zeros(50_000, np.uint8)
    array.flags.writeable = False
    assert same(there_and_back(array), array)


# --- frames -------------------------------------------------------------------------------------------------


def test_large_arrays_and_bytes_leave_as_frames_and_small_ones_in_the_body() -> None:
    small, large = np.zeros(100, np.uint8), np.zeros((200, 300), np.uint8)
    payload = encode_call("m:f", [small, large, b"x" * 100, b"y" * 20_000], {"also": [large]})
    assert [memoryview(frame).nbytes for frame in payload.frames] == [60_000, 20_000, 60_000]
    assert len(payload.body) < 400
    assert payload.size == len(payload.body) + 140_000


def test_encoding_copies_no_large_value() -> None:
    array, data = np.zeros((200, 300, 3), np.uint8), b"x" * 20_000
    payload = encode_value([array, data])
    assert np.shares_memory(np.frombuffer(payload.frames[0], np.uint8), array)
    assert payload.frames[1] is data


def test_large_values_beyond_the_frame_limit_go_into_the_body() -> None:
    value = [np.full(20_000, number, np.uint8) for number in range(serialization.MAX_OWN_FRAMES + 3)]
    payload = encode_value(value)
    assert len(payload.frames) == serialization.MAX_OWN_FRAMES
    assert same(decode_value(over_the_wire(payload)), value)


def test_decoded_arrays_are_writable_and_views_of_writable_frames() -> None:
    array = np.zeros(20_000, np.uint8)
    frame = bytearray(array.tobytes())
    body = encode_value(array).body
    view = decode_value(Payload(body, (frame,)))
    view[0] = 7
    assert frame[0] == 7
    original = bytes(20_000)
    copy = decode_value(Payload(body, (original,)))
    copy[0] = 7
    assert original[0] == 0
    small = there_and_back(np.zeros(3))
    small[0] = 7


def test_frames_received_from_a_socket_are_not_copied() -> None:
    context = zmq.Context()
    with context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        one.bind("inproc://codec")
        other.connect("inproc://codec")
        payload = encode_value(np.arange(50_000))
        one.send(payload.frames[0], copy=False)
        assert other.poll(5000)
        frame = other.recv(copy=False)
        result = decode_value(Payload(payload.body, (frame,)))
        assert same(result, np.arange(50_000))
        assert np.shares_memory(result, np.frombuffer(frame.buffer, np.uint8))


def test_long_bytes_arrive_as_bytes_from_any_buffer() -> None:
    data = random.Random(1).randbytes(20_000)
    payload = encode_value(data)
    for carrier in (bytes, bytearray, memoryview, zmq.Frame):
        assert same(decode_value(over_the_wire(payload, carrier)), data)
    assert decode_value(payload) is data
    part = memoryview(b"xx" + data)[2:]
    assert decode_value(Payload(payload.body, (part,))) == data


def test_numpy_is_not_imported_without_arrays() -> None:
    program = (
        "import sys; from labkit.calls.serialization import *; from labkit.calls import serialization as c;"
        "assert c.decode_call(c.encode_call('m:f', [1, 'x', {'a': (b'y' * 99999,)}], {'k': {2}})) "
        "== ('m:f', (1, 'x', {'a': (b'y' * 99999,)}), {'k': {2}});"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


# --- what cannot travel -------------------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 1


class Word(str, enum.Enum):  # noqa: UP042 - the older form passes for a str in other places
    YES = "yes"


class Mine:
    pass


class Matrix(np.ndarray):
    pass


Point = namedtuple("Point", "x y")


def numbers_forever() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "kind", "advice"),
    [
        (Mine(), "Mine", "send what it is made of"),
        (datetime(2024, 1, 1), "datetime", "send what it is made of"),
        (3j, "complex", "send what it is made of"),
        (threading.Lock(), "lock", "send what it is made of"),
        (len, "builtin_function_or_method", "functions cannot travel"),
        (lambda: 0, "function", "functions cannot travel"),
        (Mine, "type", "functions cannot travel"),
        (Path("x"), type(Path("x")).__name__, "send str(args[1]['x'])"),
        (bytearray(3), "bytearray", "send bytes(args[1]['x'])"),
        (memoryview(b"x"), "memoryview", "send bytes(args[1]['x'])"),
        (Colour.RED, "Colour", "send int(args[1]['x'])"),
        (Word.YES, "Word", "send str(args[1]['x'])"),
        (Point(1, 2), "Point", "send tuple(args[1]['x'])"),
        (OrderedDict(a=1), "OrderedDict", "send dict(args[1]['x'])"),
        (defaultdict(int), "defaultdict", "send dict(args[1]['x'])"),
        (np.zeros(3).view(Matrix), "Matrix", "send numpy.asarray(args[1]['x'])"),
        (np.ma.masked_array([1]), "MaskedArray", "send args[1]['x'].data and args[1]['x'].mask"),
        (numbers_forever(), "generator", "send list(args[1]['x'])"),
        (np.str_("x"), "str_", "send str(args[1]['x'])"),
        (np.array([Mine()]), "dtype object", ".astype"),
        (np.array(["a"]), "dtype <U1", ".astype"),
        (np.array(["2024-01-01"], "M8[D]"), "dtype datetime64[D]", ".astype"),
        (np.zeros(2, [("a", "i4")]), "dtype [('a', '<i4')]", ".astype"),
        (np.zeros(2, np.complex64), "dtype complex64", ".astype"),
        (np.zeros((1, 1, 1, 1, 1)), "shape (1, 1, 1, 1, 1)", "at most 4 dimensions"),
        ({1.5: 1}, "key 1.5 of type float", "must be str or int"),
        ({None: 1}, "key None of type NoneType", "must be str or int"),
        ({True: 1}, "key True of type bool", "must be str or int"),
        ({(1, 2): 1}, "key (1, 2) of type tuple", "must be str or int"),
        ({np.int64(1): 1}, "of type int64", "must be str or int"),
    ],
)
def test_a_value_that_cannot_travel_is_named_with_its_place(value: Any, kind: str, advice: str) -> None:
    with pytest.raises(CannotTravel) as refusal:
        encode_call("m:f", [0, {"x": value}], {})
    sentence = str(refusal.value)
    assert sentence.startswith("args[1]['x'] ")
    assert kind in sentence
    assert advice in sentence
    assert isinstance(refusal.value, TypeError)


def test_an_error_names_the_place_of_kwargs_and_results_too() -> None:
    with pytest.raises(CannotTravel, match=r"^kwargs\['k'\]\[2\]\[0\] is of type Mine"):
        encode_call("m:f", [], {"k": [1, 2, (Mine(),)]})
    with pytest.raises(CannotTravel, match=r"^value is of type Mine"):
        encode_value(Mine())
    with pytest.raises(CannotTravel, match=r"^kwargs has the key"):
        encode_call("m:f", [], {Word.YES: 1})


def test_a_value_that_contains_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append([ring, ring])
    with pytest.raises(CannotTravel, match=r"args\[0\]\[0\]\[\.\.\.\] is nested more than 64 levels deep"):
        encode_call("m:f", [ring], {})


def test_depth_has_the_same_limit_on_both_sides() -> None:
    value: Any = 1
    for _ in range(serialization.MAX_DEPTH):
        value = [value]
    assert there_and_back(value) == value
    with pytest.raises(CannotTravel):
        encode_value([value])
    body = msgpack.packb([serialization.LIST, msgpack.unpackb(encode_value(value).body)])
    with pytest.raises(ProtocolError, match="64 levels"):
        decode_value(Payload(body))


def test_an_empty_array_of_impossible_shape_is_refused() -> None:
    with pytest.raises(CannotTravel):
        encode_value(np.empty((0, 1 << 50), np.uint8))
