"""An exception's traceback as text, whatever its class does (see ``labkit.core.exception_text``)."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable

from labkit.core import exception_text


def traceback_text(error: BaseException) -> str:
    """Return what Python prints for ``error``; never raises.

    Python's own formatting raises for some exceptions: a ``SyntaxError`` with odd arguments, a ``__notes__``
    or ``__class__`` that raises, groups nested too deep. Those keep the lines of their frames and their text,
    and lose only their causes and notes.
    """
    ways: tuple[Callable[[BaseException], str], ...] = (_as_python, _frames_and_text, exception_text.summary)
    for way in ways:
        try:
            return way(error)
        except BaseException:  # noqa: BLE001 - the class's own code may raise even SystemExit
            continue
    return exception_text.NO_TEXT


def _as_python(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


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
