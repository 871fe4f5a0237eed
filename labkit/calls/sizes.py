"""How many bytes values will have in a message, computed before any of them is encoded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

STEP = 1 << 16
"""A text is measured in parts of this many characters."""


def least_bytes(values: Collection[Any], room: int) -> int:
    """Return how many bytes these plain values have at least.

    It is a rough bound if even the largest that they could be fits into ``room``.
    """
    length = len(values)
    kinds = {*map(type, values)}
    if kinds == {float}:
        return 9 * length
    size = length
    if str in kinds:
        texts = values if len(kinds) == 1 else [item for item in values if type(item) is str]
        size += sum(map(len if all(map(str.isascii, texts)) else text_bytes, texts))
    if size + 8 * length > room:
        size += sum(map(_number_bytes, values)) - length
    return size


def text_bytes(text: str) -> int:
    """Return how many bytes ``text`` will have, without encoding all of it at once."""
    if text.isascii():
        return len(text)
    step = 1 << 16
    return sum(len(text[at : at + step].encode("utf-8", "surrogatepass")) for at in range(0, len(text), step))


def _number_bytes(value: Any) -> int:
    """Return how many bytes a number of at most 64 bits has at least; 1 for any other plain value."""
    if type(value) is float:
        return 9
    bits = value.bit_length() if type(value) is int else 0
    return 1 if bits <= 7 else 2 if bits <= 8 else 3 if bits <= 16 else 5 if bits <= 32 else 9
