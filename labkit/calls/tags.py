"""What the two directions of `labkit.calls.serialization` share: tags, permitted types and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_DEPTH = 64
"""Deeper nesting is a mistake (a list that contains itself) or an attack."""
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 40
"""Far more than fits into a message; keeps NumPy's arithmetic on shapes far from an overflow."""

MAX_CONTAINERS = 1 << 24
"""Lists, dicts and so on in one message. An empty list is one or two bytes in a message, and 64 in memory."""

LIST, TUPLE, SET, FROZENSET, LONG_BYTES, ARRAY, LONG_ARRAY, NUMBER = range(8)
BIG_INT = 1  # MessagePack extension type

ITEMS_TAG: dict[type, int] = {list: LIST, tuple: TUPLE, set: SET, frozenset: FROZENSET}
ITEMS_TYPE: dict[int, type] = {tag: cls for cls, tag in ITEMS_TAG.items()}
PLAIN = frozenset({type(None), bool, int, float, str})
KEYS = frozenset({int, str})
# "<f8" is little-endian, ">f8" big-endian, "|u1" a single byte. No object arrays (they would hold addresses),
# no structures, no dates, and no long floats, whose size depends on the machine.
DTYPES = frozenset(
    {"|b1", "|i1", "|u1"}
    | {order + kind for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8")}
)


def possible(shape: Sequence[int]) -> bool:
    """Return whether an array may have this shape. Zeros count as ones: NumPy refuses (0, 2**62, 2**62)."""
    return (
        len(shape) <= MAX_DIMENSIONS
        and all(0 <= length <= MAX_ELEMENTS for length in shape)
        and math.prod(max(length, 1) for length in shape) <= MAX_ELEMENTS
    )
