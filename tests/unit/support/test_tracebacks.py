"""A traceback as text: as Python prints it, or less, but never an exception."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from labkit.support.tracebacks import traceback_text


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - it is returned
        return caught


def odd(*details: object) -> Any:
    return details


class Exits(Exception):
    """Every attribute that a traceback shows ends the process."""

    def __str__(self) -> str:
        raise SystemExit(1)

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemExit(1)


def test_an_ordinary_exception_is_shown_as_python_shows_it() -> None:
    error = raised(ValueError("the cup is empty"))
    assert traceback_text(error) == "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "error",
    [SyntaxError("bad", odd("page.txt", 3, 5, b"bytes")), SyntaxError("bad", odd(1, 2, 3, 4)), Exits()],
)
def test_an_exception_that_python_cannot_format_keeps_its_frames(error: BaseException) -> None:
    text = traceback_text(raised(error))
    assert text.startswith("Traceback") and "in raised" in text and type(error).__name__ in text
