"""The attributes that programs read from Python's own exceptions (``error.errno``), as JSON for the wire.

Only plain values of a few well-known classes travel. The receiver trusts nothing: it takes the names of this
table only, and drops whatever else it gets.
"""

from __future__ import annotations

import json

Attributes = dict[str, str | int | None]

NAMES: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("name", "path"),
}
LIMIT_BYTES = 16_000
"""A longer text is not sent; the sentence of the error is complete without it."""


def names_of(kind: type[object]) -> tuple[str, ...]:
    """Return the names of the attributes that an exception of class ``kind`` brings along."""
    return next((names for parent, names in NAMES.items() if issubclass(kind, parent)), ())


def encode(error: BaseException) -> bytes:
    """Return the attributes of an exception of one of Python's own classes; empty bytes if it has none."""
    kind = type(error)
    if kind.__module__ != "builtins" or not (names := names_of(kind)):
        return b""
    found = {name: _plain(getattr(error, name)) for name in names}
    if all(value is None for value in found.values()):
        return b""
    text = json.dumps(found).encode("ascii")
    return text if len(text) <= LIMIT_BYTES else b""


def decode(kind: type[BaseException], text: bytes) -> Attributes:
    """Return the attributes for an exception of class ``kind``; none if `encode` did not make ``text``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: value
        for name in names_of(kind)
        if (value := found.get(name)) is None or type(value) in (str, int)
    }


def _plain(value: object) -> str | int | None:
    if isinstance(value, bytes):  # the name of a file
        return bytes.decode(value, "utf-8", "surrogateescape")
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if type(value) in (int, bool) else None  # type: ignore[call-overload]
