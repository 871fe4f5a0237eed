"""An exception's traceback as text, whatever its class does (see ``labkit.core.exception_text``)."""

from __future__ import annotations

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
