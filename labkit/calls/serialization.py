"""Serializes arguments and results: a small body and large frames, without pickle.

A `Payload` is a small *body* (MessagePack) and large *frames* (raw bytes, never copied). The format::

    value                   in the body
    None bool float str     themselves
    int                     itself; beyond 64 bits extension 1: two's complement, big-endian
    dict                    a map; its keys are str or int
    list tuple              [0, item...]   [1, item...]
    set frozenset           [2, item...]   [3, item...]
    bytes                   itself; from 16 KiB on [4, length] and a frame
    NumPy array             [5, dtype, shape, data]; from 16 KiB on [6, dtype, shape] and a frame, in C order
    NumPy number            [7, dtype, data]

Frames are not numbered. The body is read in the order in which it was written, and each 4 or 6 in it takes
the next frame. A call is ``[function name, [argument...], {name: argument}]``, with the version of the
function's module as a fourth item if it is a learner's (`labkit.calls.versions`). A result is one value.

Why not pickle: loading a pickle runs code that its sender chose. Reading this format creates only the types
above.

Guarantees:

* A decoded value equals the encoded one and has the same types (True is not 1, a tuple not a list, int8 not
  int64). Two exceptions: an array in another memory order arrives in C order, and a list that occurs in two
  places arrives as two lists.
* Encoding refuses other types with `CannotTravel`, which names type and place: ``args[1]['x']``.
* Encoding refuses what is too large before it copies anything.
* Decoding raises only `ProtocolError`, whatever the bytes: types, dtypes, shapes, lengths and depth are
  checked before they are used, and an announced length alone allocates nothing.
* Decoded arrays are writable. An array from a writable frame (ZeroMQ's received frames are) is a view of that
  frame; one from read-only bytes is a copy.
* Encoded frames are views of the caller's own arrays: do not change an array before its task has ended.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack

from labkit.calls import refusals
from labkit.calls.chunks import LEVELS, RESULT_LEVELS, RUN_EACH, Chunk, Position
from labkit.calls.reader import Reader, unpacked
from labkit.calls.refusals import Place, TooLarge
from labkit.calls.sizes import least_bytes, text_bytes
from labkit.calls.tags import (
    ARRAY,
    BIG_INT,
    DTYPES,
    FROZENSET,
    ITEMS_TAG,
    KEYS,
    LIST,
    LONG_ARRAY,
    LONG_BYTES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    NUMBER,
    PLAIN,
    SET,
    TUPLE,
    possible,
)
from labkit.core.errors import N_, CannotTravel, ProtocolError
from labkit.core.protocol.messages import Payload
from labkit.core.protocol.rules import Rules

if TYPE_CHECKING:
    import numpy as np

__all__ = (
    "ARRAY",
    "FROZENSET",
    "LIST",
    "LONG_ARRAY",
    "LONG_BYTES",
    "MAX_DEPTH",
    "NUMBER",
    "SET",
    "decode_call",
    "decode_value",
    "decode_versioned_call",
    "encode_call",
    "encode_results",
    "encode_value",
)

LARGE_BYTES = 16 << 10
"""Bytes and arrays of this size or more become frames; below, a copy costs less than a frame."""
MAX_OWN_FRAMES = 32
"""Further large values go into the body, because a reader drops a message with too many frames."""
SHORT_LIST = 100
"""The numbers in a plain list of fewer items count one byte each."""
LONG_LIST = 1000
"""After a plain list of this many items the exact size of the body is read; before, its least size counts."""
LIMIT_BYTES = Rules().max_message_bytes
"""The size of a message, unless its cluster has other rules."""

_CALLS = ([str, list, dict], [str, list, dict, str])


def encode_call(
    function_name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    version: str = "",
    limit_bytes: int = LIMIT_BYTES,
) -> Payload:
    """Return the call of ``function_name`` ("module:qualname") with these arguments, ready to travel.

    ``version`` is that of the function's module (`labkit.calls.versions`). Raises `CannotTravel` for the
    first argument that cannot travel, and its subclass `TooLarge` before the message has ``limit_bytes``.
    """
    if not kwargs and not version and PLAIN.issuperset(map(type, args)):  # the fast path of tiny tasks
        try:
            return Payload(_packed_plain([function_name, _small(args), {}]))
        except _NotSmall:
            pass
    if not all(type(name) is str for name in kwargs):  # Python accepts an Enum of strings as a name
        raise refusals.wrong_key(kwargs, ("kwargs",))
    return _Writer(limit_bytes).call(function_name, args, kwargs, version)


def decode_call(payload: Payload) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return (function name, args, kwargs) as they were passed to `encode_call`, or raise `ProtocolError`."""
    return decode_versioned_call(payload)[:3]


def decode_versioned_call(payload: Payload) -> tuple[str, tuple[Any, ...], dict[str, Any], str]:
    """Return (function name, args, kwargs, version); the version is empty if the call has none."""
    call = unpacked(payload.body)
    if type(call) is not list or [*map(type, call)] not in _CALLS:
        raise ProtocolError(N_("a call must be a list of function name, arguments and named arguments"))
    name, args, kwargs, version = call if len(call) == 4 else (*call, "")
    if not kwargs and not payload.frames and PLAIN.issuperset(map(type, args)):
        return name, tuple(args), kwargs, version
    if not all(type(key) is str for key in kwargs):
        raise ProtocolError(N_("the names of named arguments must be text"))
    reader = Reader(payload.frames)
    depth = 1 - LEVELS if name == RUN_EACH else 1
    values = tuple([reader.value(tree, depth) for tree in args])
    named = {key: reader.value(tree) for key, tree in kwargs.items()}
    reader.finish()
    return name, values, named, version


def encode_value(value: Any, limit_bytes: int = LIMIT_BYTES) -> Payload:
    """Return ``value`` ready to travel, or raise `CannotTravel`; `TooLarge` beyond ``limit_bytes``."""
    if type(value) in PLAIN:
        try:
            return Payload(_packed_plain(_small((value,))[0]))
        except _NotSmall:
            pass
    writer = _Writer(limit_bytes)
    writer.value(value, ("value",))
    return writer.payload()


def encode_results(
    results: list[Any], first: int, position: Position, limit_bytes: int = LIMIT_BYTES
) -> Payload:
    """Return the results of a chunk, whose first input has the index ``first``, ready to travel.

    If a result cannot travel, ``position`` has the index of its input.
    """
    return _Writer(limit_bytes).results(results, first, position)


def decode_value(payload: Payload, of_chunk: bool = False) -> Any:
    """Return the value that was passed to `encode_value`, or raise `ProtocolError`.

    ``of_chunk``: to `encode_results`.
    """
    tree = unpacked(payload.body)
    if type(tree) in PLAIN and not payload.frames:
        return tree
    reader = Reader(payload.frames)
    value = reader.value(tree, 1 - RESULT_LEVELS if of_chunk else 1)
    reader.finish()
    return value


# --- writing ------------------------------------------------------------------------------------------------


class _Writer:
    """Packs values into a body, and collects the frames.

    Sizes are added up before anything is copied: the sum is never more than the message will have.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.frames: list[Any] = []
        self._packer = msgpack.Packer(
            default=self._big_int,
            autoreset=False,
            strict_types=True,
            use_bin_type=True,
            unicode_errors="surrogatepass",
        )
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._frames_bytes = 0
        self._containers = 0

    def payload(self) -> Payload:
        return Payload(self._packer.bytes(), tuple(self.frames))

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], version: str) -> Payload:
        pack = self._packer
        pack.pack_array_header(4 if version else 3)
        pack.pack(name)
        pack.pack_array_header(len(args))
        for index, value in enumerate(args):
            if type(value) is Chunk:
                self._chunk(value)
            else:
                self.value(value, ("args", index))
        pack.pack_map_header(len(kwargs))
        for key, value in kwargs.items():
            pack.pack(key)
            self.value(value, ("kwargs", key))
        if version:
            pack.pack(version)
        return self.payload()

    def results(self, results: list[Any], first: int, position: Position) -> Payload:
        self._begin(LIST, len(results))
        for position.index, result in enumerate(results, first):
            self.value(result, ("value",))
        return self.payload()

    def value(self, value: Any, place: Place, depth: int = 1) -> None:
        kind = type(value)
        if kind in PLAIN:
            self._add(text_bytes(value) if kind is str else 1, place)
            self._packer.pack(value)
        elif kind is bytes:
            self._add(len(value) + 1, place)
            if self._inline(len(value)):
                self._packer.pack(value)
            else:
                self._packer.pack([LONG_BYTES, len(value)])
                self._append(value, len(value))
        elif depth > MAX_DEPTH:
            raise refusals.too_deep(place, MAX_DEPTH)
        elif kind in ITEMS_TAG:
            self._items(value, place, depth)
        elif kind is dict:
            self._container(place)
            self._add(1, place)
            self._dict(value, place, depth)
        else:
            self._numpy(value, kind, place)

    def _chunk(self, calls: Chunk) -> None:
        """Write the calls; each argument has place and depth as in a call of its own."""
        self._begin(LIST, len(calls))
        for args in calls:
            self._begin(TUPLE, len(args))
            for at, value in enumerate(args):
                self.value(value, ("args", at))

    def _begin(self, tag: int, length: int) -> None:
        self._packer.pack_array_header(length + 1)
        self._packer.pack(tag)

    def _container(self, place: Place) -> None:
        self._containers += 1
        if self._containers > MAX_CONTAINERS:
            raise CannotTravel(
                N_("{where} brings the message to more than {limit} lists and dicts; send NumPy arrays"),
                where=refusals.written(place[:4]),
                limit=MAX_CONTAINERS,
            )

    def _items(self, value: Any, place: Place, depth: int) -> None:
        tag, length = ITEMS_TAG[type(value)], len(value)
        self._container(place)
        if PLAIN.issuperset(map(type, value)):  # a long list of numbers, at the speed of C
            if length < SHORT_LIST and str not in map(type, value):
                self._add(length + 2, place)
            else:
                self._add(least_bytes(value, self._limit_bytes - self._bytes) + 2, place)
            self._packer.pack([tag, *value])
            if length >= LONG_LIST:
                self._bytes = max(self._bytes, self._frames_bytes + self._body_bytes())
            return
        self._add(2, place)
        self._begin(tag, length)
        for at, item in enumerate(value):
            self.value(item, (*place, at), depth + 1)

    def _dict(self, value: dict[Any, Any], place: Place, depth: int) -> None:
        if not KEYS.issuperset(map(type, value)):
            raise refusals.wrong_key(value, place)
        self._packer.pack_map_header(len(value))
        for key, item in value.items():
            self._add(text_bytes(key) if type(key) is str else 1, place)
            self._packer.pack(key)
            self.value(item, (*place, key), depth + 1)

    def _numpy(self, value: Any, kind: type, place: Place) -> None:
        # A sender of arrays has imported NumPy; other senders do not pay for it.
        numpy: Any = sys.modules.get("numpy")
        if kind is getattr(numpy, "ndarray", None):
            self._array(value, place)
        elif issubclass(kind, getattr(numpy, "generic", ())) and value.dtype.str in DTYPES:
            self._add(value.nbytes + 1, place)
            self._packer.pack([NUMBER, value.dtype.str, value.tobytes()])
        else:
            raise refusals.of_value(value, place)

    def _array(self, array: np.ndarray, place: Place) -> None:
        dtype = array.dtype.str
        if dtype not in DTYPES:
            raise refusals.of_dtype(array, place)
        shape = list(array.shape)
        if not possible(shape):
            raise refusals.of_shape(array, place, MAX_DIMENSIONS)
        self._add(array.nbytes + 1, place)
        if array.nbytes < LARGE_BYTES:
            self._packer.pack([ARRAY, dtype, shape, array.tobytes()])
            return
        import numpy as np

        flat = np.asarray(array, order="C").reshape(-1)  # copies only if not in C order already
        data = flat.view(np.uint8).data
        if self._inline(array.nbytes):
            self._packer.pack([ARRAY, dtype, shape, data])
        else:
            self._packer.pack([LONG_ARRAY, dtype, shape])
            self._append(data, array.nbytes)

    def _inline(self, size: int) -> bool:
        return size < LARGE_BYTES or len(self.frames) >= MAX_OWN_FRAMES

    def _append(self, frame: Any, size: int) -> None:
        self.frames.append(frame)
        self._frames_bytes += size

    def _body_bytes(self) -> int:
        with self._packer.getbuffer() as body:
            return int(body.nbytes)

    def _add(self, size: int, place: Place) -> None:
        self._bytes += size
        if self._bytes > self._limit_bytes:
            raise TooLarge(
                N_("{where} makes the message too large: {size} bytes or more; {limit} bytes can travel"),
                where=refusals.written(place[:4]),
                size=self._bytes,
                limit=self._limit_bytes,
            )

    def _big_int(self, value: object) -> msgpack.ExtType:
        """Return the extension for an integer beyond 64 bits, the only value that MessagePack cannot pack."""
        if not isinstance(value, int):
            raise TypeError(f"the tree holds a {type(value).__name__}")
        self._add(value.bit_length() // 8 + 1, ("an integer",))
        return _int_extension(value)


class _NotSmall(Exception):
    """A plain value is so large that its size must be checked first."""


def _small(values: Sequence[Any]) -> list[Any]:
    """Return the plain ``values`` as a list; raises `_NotSmall` if a text is long."""
    for value in values:
        if type(value) is str and len(value) >= LARGE_BYTES:
            raise _NotSmall
    return list(values)


def _packed_plain(tree: Any) -> bytes:
    body: bytes = msgpack.packb(
        tree, default=_small_int, strict_types=True, use_bin_type=True, unicode_errors="surrogatepass"
    )
    return body


def _small_int(value: int) -> msgpack.ExtType:
    if value.bit_length() >= 8 * LARGE_BYTES:
        raise _NotSmall
    return _int_extension(value)


def _int_extension(value: int) -> msgpack.ExtType:
    size = value.bit_length() // 8 + 1
    return msgpack.ExtType(BIG_INT, value.to_bytes(size, "big", signed=True))
