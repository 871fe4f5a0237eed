"""An exception's traceback as text, whatever its class does (see ``labkit.core.exception_text``)."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable, Iterator

from labkit.core import exception_text

MAX_CHAIN = 100


def traceback_text(error: BaseException) -> str:
    """Return what Python prints for ``error``; never raises.

    Python's own formatting raises for some exceptions: a ``SyntaxError`` with odd arguments, a ``__notes__``
    or ``__class__`` that raises, groups nested too deep. It copies a message of many megabytes several times.
    Those keep the lines of their frames and (the beginning of) their text, and lose only causes and notes.
    """
    ways: tuple[Callable[[BaseException], str], ...] = (_as_python, _frames_and_text, exception_text.summary)
    for way in ways:
        try:
            return way(error)
        except BaseException:  # noqa: BLE001 - the class's own code may raise even SystemExit
            continue
    return exception_text.NO_TEXT


def _as_python(error: BaseException) -> str:
    if any(map(exception_text.is_long, _chain(error))):
        return _frames_and_text(error)
    return "".join(traceback.format_exception(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and at most `MAX_CHAIN` of those that Python would print with it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) <= MAX_CHAIN:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # The descriptors of the bases themselves: the class may have attributes of the same names.
        above = (BaseException.__dict__[name].__get__(one) for name in ("__cause__", "__context__"))
        waiting += [more for more in above if more is not None]
        if issubclass(type(one), BaseExceptionGroup):
            waiting += BaseExceptionGroup.__dict__["exceptions"].__get__(one)


def _frames_and_text(error: BaseException) -> str:
    # The descriptor of BaseException itself: the class may have an attribute of the same name.
    frames = traceback.format_tb(BaseException.__dict__["__traceback__"].__get__(error))
    return "".join(["Traceback (most recent call last):\n", *frames, exception_text.summary(error), "\n"])


def log_failure(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log ``what`` and the traceback of ``error`` as an error; never raises.

    For threads that call a user's code and must go on whatever it does. The logging module would format the
    exception itself, which runs the code of its class, and a user's log filter may raise.
    """
    text = traceback_text(error)
    try:
        log.error("%s\n%s", what, text)
    except BaseException as second:  # noqa: BLE001 - a filter or handler of the program that uses labkit
        if sys.__stderr__ is not None:
            with contextlib.suppress(OSError, ValueError):  # closed: there is no place left to say it
                sys.__stderr__.write(f"{what}\n{text}\nIt could not be logged: {traceback_text(second)}\n")
