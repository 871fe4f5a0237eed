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
the next frame. A call is ``[function name, [argument...], {name: argument}]``, a result is one value.

Why not pickle: loading a pickle runs code that its sender chose. Reading this format creates only the types
above.

Guarantees:

* A decoded value equals the encoded one and has the same types (True is not 1, a tuple not a list, int8 not
  int64). Two exceptions: an array in another memory order arrives in C order, and a list that occurs in two
  places arrives as two lists.
* Encoding refuses other types with `CannotTravel`, which names type and place: ``args[1]['x']``.
* Decoding raises only `ProtocolError`, whatever the bytes: types, dtypes, shapes, lengths and depth are
  checked before they are used, and an announced length alone allocates nothing.
* Decoded arrays are writable. An array from a writable frame (ZeroMQ's received frames are) is a view of that
  frame; one from read-only bytes is a copy.
* Encoded frames are views of the caller's own arrays: do not change an array before its task has ended.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack

from labkit.core import exception_text
from labkit.core.errors import N_, CannotTravel, ProtocolError
from labkit.core.protocol.messages import Payload

if TYPE_CHECKING:
    import numpy as np

LARGE_BYTES = 16 << 10
"""Bytes and arrays of this size or more become frames; below, a copy costs less than a frame."""
MAX_OWN_FRAMES = 32
"""Further large values go into the body, because a reader drops a message with too many frames."""
MAX_DEPTH = 64
"""Deeper nesting is a mistake (a list that contains itself) or an attack."""
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 40
"""Far more than fits into a message; keeps NumPy's arithmetic on shapes far from an overflow."""

LIST, TUPLE, SET, FROZENSET, LONG_BYTES, ARRAY, LONG_ARRAY, NUMBER = range(8)
_BIG_INT = 1  # MessagePack extension type

_ITEMS_TAG: dict[type, int] = {list: LIST, tuple: TUPLE, set: SET, frozenset: FROZENSET}
_ITEMS_TYPE: dict[int, type] = {tag: cls for cls, tag in _ITEMS_TAG.items()}
_PLAIN = frozenset({type(None), bool, int, float, str})
_KEYS = frozenset({int, str})
_CALL = [str, list, dict]
# "<f8" is little-endian, ">f8" big-endian, "|u1" a single byte. No object arrays (they would hold addresses),
# no structures, no dates, and no long floats, whose size depends on the machine.
_DTYPES = frozenset(
    {"|b1", "|i1", "|u1"}
    | {order + kind for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")}
)


def encode_call(function_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Payload:
    """Return the call of ``function_name`` ("module:qualname") with these arguments, ready to travel.

    Raises `CannotTravel` for the first argument that cannot travel.
    """
    if not kwargs and _PLAIN.issuperset(map(type, args)):  # the fast path of tiny tasks
        return Payload(_packed([function_name, list(args), {}]))
    if not all(type(name) is str for name in kwargs):  # Python accepts an Enum of strings as a name
        raise _wrong_key(kwargs, ("kwargs",))
    writer = _Writer()
    return writer.payload(
        [
            function_name,
            [writer.tree(value, ("args", index)) for index, value in enumerate(args)],
            {name: writer.tree(value, ("kwargs", name)) for name, value in kwargs.items()},
        ]
    )


def decode_call(payload: Payload) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return (function name, args, kwargs) as they were passed to `encode_call`, or raise `ProtocolError`."""
    call = _unpacked(payload.body)
    if type(call) is not list or [*map(type, call)] != _CALL:
        raise ProtocolError(N_("a call must be a list of function name, arguments and named arguments"))
    name, args, kwargs = call
    if not kwargs and not payload.frames and _PLAIN.issuperset(map(type, args)):
        return name, tuple(args), kwargs
    if not all(type(key) is str for key in kwargs):
        raise ProtocolError(N_("the names of named arguments must be text"))
    reader = _Reader(payload.frames)
    values = tuple([reader.value(tree) for tree in args])
    named = {key: reader.value(tree) for key, tree in kwargs.items()}
    reader.finish()
    return name, values, named


def encode_value(value: Any) -> Payload:
    """Return ``value`` ready to travel, or raise `CannotTravel`."""
    if type(value) in _PLAIN:
        return Payload(_packed(value))
    writer = _Writer()
    return writer.payload(writer.tree(value, ("value",)))


def decode_value(payload: Payload) -> Any:
    """Return the value that was passed to `encode_value`, or raise `ProtocolError`."""
    tree = _unpacked(payload.body)
    if type(tree) in _PLAIN and not payload.frames:
        return tree
    reader = _Reader(payload.frames)
    value = reader.value(tree)
    reader.finish()
    return value


# --- writing ------------------------------------------------------------------------------------------------

Place = tuple[str | int, ...]
"""The place of a value, for error messages only: ("args", 1, "x") is shown as ``args[1]['x']``."""


class _Writer:
    """Turns values into the tree that MessagePack packs, and collects the frames."""

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def payload(self, tree: Any) -> Payload:
        return Payload(_packed(tree), tuple(self.frames))

    def tree(self, value: Any, place: Place) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is bytes:
            if self._inline(len(value)):
                return value
            self.frames.append(value)
            return [LONG_BYTES, len(value)]
        if len(place) > MAX_DEPTH:
            raise CannotTravel(
                N_(
                    "{where} is nested more than {limit} levels deep, or contains itself; "
                    "send something flatter"
                ),
                where=_written(place[:3]) + "[...]",
                limit=MAX_DEPTH,
            )
        if kind in _ITEMS_TAG:
            if _PLAIN.issuperset(map(type, value)):  # a long list of numbers, at the speed of C
                return [_ITEMS_TAG[kind], *value]
            return [_ITEMS_TAG[kind], *[self.tree(item, (*place, at)) for at, item in enumerate(value)]]
        if kind is dict:
            if not _KEYS.issuperset(map(type, value)):
                raise _wrong_key(value, place)
            return {key: self.tree(item, (*place, key)) for key, item in value.items()}
        # A sender of arrays has imported NumPy; other senders do not pay for it.
        numpy: Any = sys.modules.get("numpy")
        if kind is getattr(numpy, "ndarray", None):
            return self._array(value, place)
        numpy_number: Any = getattr(numpy, "generic", ())
        if isinstance(value, numpy_number) and value.dtype.str in _DTYPES:
            return [NUMBER, value.dtype.str, value.tobytes()]
        raise _refused(value, place)

    def _array(self, array: np.ndarray, place: Place) -> list[Any]:
        dtype = array.dtype.str
        if dtype not in _DTYPES:
            raise CannotTravel(
                N_(
                    "{where} is an array of dtype {dtype}, which cannot travel to a worker; "
                    "convert it with .astype to a bool, an integer or a float of at most 64 bits"
                ),
                where=_written(place),
                dtype=str(array.dtype),
            )
        shape = list(array.shape)
        if not _possible(shape):
            raise CannotTravel(
                N_("{where} is an array of shape {shape}; at most {limit} dimensions can travel to a worker"),
                where=_written(place),
                shape=array.shape,
                limit=MAX_DIMENSIONS,
            )
        if self._inline(array.nbytes):
            return [ARRAY, dtype, shape, array.tobytes()]
        import numpy as np

        flat = np.asarray(array, order="C").reshape(-1)  # copies only if not in C order already
        self.frames.append(flat.view(np.uint8).data)
        return [LONG_ARRAY, dtype, shape]

    def _inline(self, size: int) -> bool:
        return size < LARGE_BYTES or len(self.frames) >= MAX_OWN_FRAMES


def _packed(tree: Any) -> bytes:
    body: bytes = msgpack.packb(
        tree, default=_big_int, strict_types=True, use_bin_type=True, unicode_errors="surrogatepass"
    )
    return body


def _big_int(value: object) -> msgpack.ExtType:
    """Return the extension for an integer beyond 64 bits, the only value that MessagePack cannot pack."""
    if not isinstance(value, int):
        raise TypeError(f"the tree holds a {type(value).__name__}")
    return msgpack.ExtType(_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _written(place: Place) -> str:
    """Return the place in Python's notation: ``args[1]['x']``."""
    return str(place[0]) + "".join(f"[{step!r}]" for step in place[1:])


def _wrong_key(value: Mapping[Any, Any], place: Place) -> CannotTravel:
    key = next(key for key in value if type(key) not in _KEYS)
    return CannotTravel(
        N_("{where} has the key {key} of type {type}; the keys of a dict that travels must be str or int"),
        where=_written(place),
        key=exception_text.repr_of(key),
        type=type(key).__name__,
    )


def _refused(value: object, place: Place) -> CannotTravel:
    """Return the error for a value of a type that cannot travel, with the advice that fits it."""
    kind = type(value)
    known = next(
        (base.__name__ for base in kind.__mro__[1:] if base in _PLAIN | {bytes, dict, *_ITEMS_TAG}), ""
    )
    if callable(value):
        template = N_(
            "{where} is of type {type}, and functions cannot travel as arguments; "
            "send a name or a number, and let the worker's own function choose by it"
        )
    elif hasattr(value, "__fspath__"):
        template = N_(
            "{where} is of type {type}, which cannot travel to a worker; send str({where}), "
            "or better the file's bytes: the worker may be on another machine"
        )
    elif isinstance(value, bytearray | memoryview):
        template = N_("{where} is of type {type}, which cannot travel to a worker; send bytes({where})")
    elif known:
        template = N_(
            "{where} is of type {type}, a special {known} that would arrive as a plain one; "
            "send {known}({where})"
        )
    elif hasattr(value, "__array__"):
        template = N_(
            "{where} is of type {type}, which cannot travel to a worker; send numpy.asarray({where})"
        )
    elif hasattr(value, "__next__"):
        template = N_("{where} is of type {type}, which cannot travel to a worker; send list({where})")
    else:
        template = N_(
            "{where} is of type {type}, which cannot travel to a worker; send what it is made of as "
            "None, bool, int, float, str, bytes, list, tuple, dict, set or NumPy arrays"
        )
    return CannotTravel(template, where=_written(place), type=kind.__name__, known=known)


# --- reading ------------------------------------------------------------------------------------------------


class _Reader:
    """Turns an unpacked tree into values without trusting it."""

    def __init__(self, frames: Sequence[Any]) -> None:
        self._frames: Iterator[Any] = iter(frames)

    def value(self, tree: Any, depth: int = 1) -> Any:
        kind = type(tree)
        if kind in _PLAIN or kind is bytes:
            return tree
        if depth > MAX_DEPTH:
            raise ProtocolError(N_("a value is nested more than {limit} levels deep"), limit=MAX_DEPTH)
        if kind is dict:
            if not _KEYS.issuperset(map(type, tree)):
                raise ProtocolError(N_("the keys of a dict must be str or int"))
            return {key: self.value(item, depth + 1) for key, item in tree.items()}
        if kind is list and tree and type(tree[0]) is int:
            tag, fields = tree[0], tree[1:]
            if tag in _ITEMS_TYPE:
                return self._items(_ITEMS_TYPE[tag], fields, depth)
            if tag == LONG_BYTES:
                (length,) = _checked(fields, int)
                return self._long_bytes(length)
            if tag == LONG_ARRAY:
                dtype, shape = _checked(fields, str, list)
                return _array(dtype, shape, self._next_frame())
            if tag == ARRAY:
                dtype, shape, data = _checked(fields, str, list, bytes)
                return _array(dtype, shape, memoryview(data))
            if tag == NUMBER:
                dtype, data = _checked(fields, str, bytes)
                return _array(dtype, [], memoryview(data))[()]
        raise ProtocolError(N_("a value has an unknown form"))

    def finish(self) -> None:
        """Raise `ProtocolError` if a frame was not used."""
        if next(self._frames, None) is not None:
            raise ProtocolError(N_("the payload has more frames than its body accounts for"))

    def _items(self, kind: type, items: list[Any], depth: int) -> Any:
        if not _PLAIN.issuperset(map(type, items)):
            items = [self.value(item, depth + 1) for item in items]
        try:
            return kind(items)
        except TypeError as error:  # a set of lists
            raise ProtocolError(N_("a set contains an item that cannot be hashed")) from error

    def _long_bytes(self, length: int) -> bytes:
        frame = self._next_frame()
        if frame.nbytes != length:
            raise _wrong_length(frame)
        # The worker's function expects bytes; a frame that is bytes already is not copied.
        return frame.obj if type(frame.obj) is bytes and len(frame.obj) == length else frame.tobytes()

    def _next_frame(self) -> memoryview:
        frame = next(self._frames, None)
        if frame is None:
            raise ProtocolError(N_("the payload has fewer frames than its body accounts for"))
        return memoryview(frame)


def _array(dtype: str, shape: list[Any], data: memoryview) -> Any:
    """Return a writable array over ``data``, after checking that the three belong together."""
    if dtype not in _DTYPES:
        raise ProtocolError(N_("dtype {dtype!r} may not travel"), dtype=dtype[:20])
    if not all(type(length) is int for length in shape) or not _possible(shape):
        raise ProtocolError(N_("an array's shape is impossible"))
    expected = math.prod(shape) * int(dtype[2])
    if data.nbytes != expected:
        raise _wrong_length(data)
    import numpy as np

    raw = np.frombuffer(data, np.uint8) if expected else np.empty(0, np.uint8)
    if dtype == "|b1" and expected and raw.max() > 1:
        raise ProtocolError(N_("a bool array holds something else than 0 and 1"))
    if not raw.flags.writeable:
        raw = raw.copy()
    return raw.view(dtype).reshape(shape)


def _possible(shape: Sequence[int]) -> bool:
    """Return whether an array may have this shape. Zeros count as ones: NumPy refuses (0, 2**62, 2**62)."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= length <= MAX_ELEMENTS for length in shape)
        and math.prod(max(length, 1) for length in shape) <= MAX_ELEMENTS
    )


def _checked(fields: list[Any], *types: type) -> list[Any]:
    """Return the fields behind a tag if their types are exactly ``types``."""
    if [type(field) for field in fields] != list(types):
        raise ProtocolError(N_("the fields behind a tag are not of the types that it announces"))
    return fields


def _unpacked(body: bytes) -> Any:
    try:
        # msgpack bounds every announced length by the bytes present, and the depth by a fixed stack.
        return msgpack.unpackb(
            body, ext_hook=_extension, strict_map_key=False, raw=False, unicode_errors="surrogatepass"
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(N_("the body is not MessagePack: {why}"), why=type(error).__name__) from error


def _extension(code: int, data: bytes) -> int:
    if code != _BIG_INT:
        raise ProtocolError(N_("MessagePack extension {code} is unknown"), code=code)
    return int.from_bytes(data, "big", signed=True)


def _wrong_length(data: memoryview) -> ProtocolError:
    # The announced length stays out of the message: it may be an integer of a million digits.
    return ProtocolError(N_("{size} bytes came where another length was announced"), size=data.nbytes)
