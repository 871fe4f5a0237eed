"""An exception's name and text: exact strings, whatever the exception's class does."""

from __future__ import annotations

import builtins

import pytest

from labkit.core import errors, exception_text


class Said(str):
    """Text whose methods must not be called."""

    def __getitem__(self, key: object) -> str:
        raise SystemExit(1)

    def __format__(self, spec: str) -> str:
        raise SystemExit(1)


class Exits(Exception):
    """Neither its text nor its repr can be read."""

    def __str__(self) -> str:
        raise SystemExit(1)

    def __repr__(self) -> str:
        raise KeyboardInterrupt


def named(name: str, module: object = "work.mine") -> Exception:
    error: Exception = type(name, (Exception,), {"__module__": module})("x")
    return error


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("x"), "ValueError"),
        (FileNotFoundError(2, "x"), "FileNotFoundError"),
        (errors.FilterError("x"), "FilterError"),
        (named("Mine"), "Mine"),
        (named("TimeoutError"), "work.mine.TimeoutError"),
        (named("FilterError"), "work.mine.FilterError"),
        (named("ValueError", "builtins"), "builtins.ValueError"),
        (named("ValueError", Exits()), "?.ValueError"),
        (named("ValueError: x"), "work.mine.ValueError? x"),
        (named("print"), "work.mine.print"),
    ],
)
def test_bare_name_means_the_well_known_class_only(error: Exception, name: str) -> None:
    assert exception_text.class_name(error) == name


@pytest.mark.parametrize("result", [Said("quiet"), 5, None])
def test_text_of_an_exception_is_an_exact_string_or_a_substitute(result: object) -> None:
    kind = type("Odd", (Exception,), {"__str__": lambda self: result})
    text = exception_text.text_of(kind())
    assert type(text) is str and text == ("quiet" if isinstance(result, str) else exception_text.NO_TEXT)


def test_text_that_exits_is_replaced() -> None:
    assert exception_text.summary(Exits()) == "Exits: its text cannot be read"
    assert exception_text.repr_of(Exits()) == "<Exits>"


def test_summary_is_capped_and_has_no_methods_of_the_learner() -> None:
    kind = type("Long", (builtins.Exception,), {"__str__": lambda self: Said("x" * 5000)})
    summary = exception_text.summary(kind())
    assert type(summary) is str and len(summary) == exception_text.TEXT_LIMIT
