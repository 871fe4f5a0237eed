"""The attributes that programs read from Python's own exceptions (``error.errno``), as JSON for the wire.

Only plain values of a few well-known classes travel. The receiver trusts nothing: it takes the names of this
table only, and drops whatever else it gets.
"""

from __future__ import annotations

import builtins
import json
from typing import Any

from labkit.core import exception_text

Attributes = dict[str, str | int | None]

NAMES: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("name", "path"),
}
INDEX = "input"
"""Beside the attributes: the index of the input at which a chunk of ``map`` failed."""
LIMIT_BYTES = 16_000
"""A longer text is not sent; the sentence of the error is complete without it."""


def names_of(kind: type[object]) -> tuple[str, ...]:
    """Return the names of the attributes that an exception of class ``kind`` brings along."""
    return next((names for parent, names in NAMES.items() if issubclass(kind, parent)), ())


def encode(error: BaseException, index: int | None = None, as_text: tuple[type[object], ...] = ()) -> bytes:
    """Return the attributes of an exception of one of Python's own classes; empty bytes if there are none.

    ``index`` is that of the input at which a chunk failed. Values of exactly the classes ``as_text`` (paths)
    travel as their text.
    """
    kind = type(error)
    own = {} if index is None else {INDEX: index}
    # Another class, whatever it calls its module, may have properties of these names that raise.
    names = names_of(kind) if vars(builtins).get(exception_text.type_name(kind)) is kind else ()
    found = {name: _plain(getattr(error, name), as_text) for name in names}
    if all(value is None for value in found.values()):
        found = {}
    text = json.dumps(found | own)
    return (text if len(text) <= LIMIT_BYTES else json.dumps(own)).encode("ascii") if found or own else b""


def decode(kind: type[BaseException], text: bytes) -> Attributes:
    """Return the attributes for an exception of class ``kind``; none if `encode` did not make ``text``."""
    found = _read(text)
    return {
        name: value
        for name in names_of(kind)
        if (value := found.get(name)) is None or type(value) in (str, int)
    }


def index_of(text: bytes) -> int | None:
    """Return the index of the input at which a chunk failed; None if ``text`` has none."""
    found = _read(text).get(INDEX)
    return found if type(found) is int else None


def _read(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: object, as_text: tuple[type[object], ...]) -> str | int | None:
    kind = type(value)  # not isinstance: that may ask the value for its class
    if issubclass(kind, bytes):  # the name of a file
        return bytes.decode(value, "utf-8", "surrogateescape")  # type: ignore[arg-type]
    if issubclass(kind, str):
        return str.__str__(value)
    if any(kind is each for each in as_text):  # not ``in``: that may ask the class of the class
        return str(value)
    if kind is not int and kind is not bool:
        return None
    number = int(value)  # type: ignore[call-overload]
    return number if number.bit_length() < 64 else None  # Python refuses to write very long numbers
