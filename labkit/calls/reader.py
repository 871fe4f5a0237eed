"""Reads what `labkit.calls.serialization` has written, without trusting it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from labkit.calls.tags import (
    ARRAY,
    BIG_INT,
    DTYPES,
    ITEMS_TYPE,
    KEYS,
    LONG_ARRAY,
    LONG_BYTES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    NUMBER,
    PLAIN,
    possible,
)
from labkit.core.errors import N_, ProtocolError


class Reader:
    """Turns an unpacked tree into values without trusting it."""

    def __init__(self, frames: Sequence[Any]) -> None:
        self._frames: Iterator[Any] = iter(frames)

    def value(self, tree: Any, depth: int = 1) -> Any:
        kind = type(tree)
        if kind in PLAIN or kind is bytes:
            return tree
        if depth > MAX_DEPTH:
            raise ProtocolError(N_("a value is nested more than {limit} levels deep"), limit=MAX_DEPTH)
        if kind is dict:
            if not KEYS.issuperset(map(type, tree)):
                raise ProtocolError(N_("the keys of a dict must be str or int"))
            return {key: self.value(item, depth + 1) for key, item in tree.items()}
        if kind is list and tree and type(tree[0]) is int:
            tag, fields = tree[0], tree[1:]
            if tag in ITEMS_TYPE:
                return self._items(ITEMS_TYPE[tag], fields, depth)
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
        if not PLAIN.issuperset(map(type, items)):
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
    if dtype not in DTYPES:
        raise ProtocolError(N_("dtype {dtype!r} may not travel"), dtype=dtype[:20])
    if not all(type(length) is int for length in shape) or not possible(shape):
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


def _checked(fields: list[Any], *types: type) -> list[Any]:
    """Return the fields behind a tag if their types are exactly ``types``."""
    if [type(field) for field in fields] != list(types):
        raise ProtocolError(N_("the fields behind a tag are not of the types that it announces"))
    return fields


def unpacked(body: bytes) -> Any:
    try:
        # msgpack bounds every announced length by the bytes present, and the depth by a fixed stack.
        counted = _counted() if len(body) > MAX_CONTAINERS else None  # a container has at least one byte
        return msgpack.unpackb(
            body,
            ext_hook=_extension,
            list_hook=counted,
            object_hook=counted,
            strict_map_key=False,
            raw=False,
            unicode_errors="surrogatepass",
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(N_("the body is not MessagePack: {why}"), why=type(error).__name__) from error


def _counted() -> Callable[[Any], Any]:
    """Return a function that is called with each list and dict, and refuses too many."""
    counter = itertools.count(1)

    def passed(container: Any) -> Any:
        if next(counter) > MAX_CONTAINERS:
            raise ProtocolError(N_("a body holds more than {limit} lists and dicts"), limit=MAX_CONTAINERS)
        return container

    return passed


def _extension(code: int, data: bytes) -> int:
    if code != BIG_INT:
        raise ProtocolError(N_("MessagePack extension {code} is unknown"), code=code)
    return int.from_bytes(data, "big", signed=True)


def _wrong_length(data: memoryview) -> ProtocolError:
    # The announced length stays out of the message: it may be an integer of a million digits.
    return ProtocolError(N_("{size} bytes came where another length was announced"), size=data.nbytes)
