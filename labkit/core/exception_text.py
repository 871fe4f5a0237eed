"""The name and the text of an exception, whatever its class does: ``str`` of a learner's exception is code.

A class may define ``__str__``, ``__repr__``, ``__class__`` or a metaclass, and each of them may raise
anything (``SystemExit`` included) or return something else than plain text. The functions here catch what
that code raises, and return an exact ``str``.
"""

from __future__ import annotations

import builtins
from typing import Any

from labkit.core import errors

NO_TEXT = "its text cannot be read"
LONG_TEXT = 1_000_000
"""Characters beyond which a message is not handled as a whole."""
TEXT_LIMIT = 1_000
"""Characters of ``summary``."""


def class_name(error: BaseException) -> str:
    """Return the name of the error's class.

    A class of Python's own or of labkit's has its bare name. Another class of the same name (a learner's
    ``class TimeoutError``) is named with its module, so a bare name always means the well-known class.
    """
    kind = type(error)
    name = type_name(kind)
    known = vars(builtins).get(name) or vars(errors).get(name)
    if known is kind or (known is None and name.isidentifier()):
        return name
    module = vars(kind).get("__module__")
    return f"{module if type(module) is str else '?'}.{name}".replace(":", "?")


def type_name(kind: type) -> str:
    """Return the bare name of ``kind``; its metaclass may hide the attribute."""
    return _plain(type.__dict__["__name__"].__get__(kind))


def text_of(error: BaseException) -> str:
    """Return ``str(error)`` as an exact ``str``, or a substitute if that raises.

    Of a message longer than `LONG_TEXT` it is only the beginning, which costs no copy of all of it.
    """
    try:
        if is_long(error) and type.__getattribute__(type(error), "__str__") is BaseException.__str__:
            (message,) = _args(error)
            return str(message[:LONG_TEXT])
        return _plain(str(error))
    except BaseException:  # noqa: BLE001 - the class's own code may raise even SystemExit
        return NO_TEXT


def is_long(error: BaseException) -> bool:
    """Return whether the error's only argument is a text or bytes longer than `LONG_TEXT`."""
    args = _args(error)
    return len(args) == 1 and type(args[0]) in (str, bytes) and len(args[0]) > LONG_TEXT


def _args(error: BaseException) -> tuple[Any, ...]:
    # The descriptor of BaseException itself: the class may have an attribute of the same name.
    args: tuple[Any, ...] = BaseException.__dict__["args"].__get__(error)
    return args


def repr_of(value: object) -> str:
    """Return ``repr(value)`` as an exact ``str``, or only the name of its type if that raises."""
    try:
        return _plain(repr(value))
    except BaseException:  # noqa: BLE001 - as above
        return f"<{type_name(type(value))}>"


def summary(error: BaseException, limit: int = TEXT_LIMIT) -> str:
    """Return "ClassName: text", at most ``limit`` characters."""
    return f"{class_name(error)}: {text_of(error)[:limit]}"[:limit]


def _plain(text: str) -> str:
    return str.__str__(text)  # of a subclass: a copy of its characters, without its methods
