"""Durations as text, and numbers read from text."""

from __future__ import annotations

import math

import pytest

from labkit.charts.table import Table
from labkit.support.i18n import set_language
from labkit.support.text import Spoken, parse_float, parse_int, printable, seconds, significant
from labkit.support.timing import Timing


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0.0, "0 ms"),
        (0.00004, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.02, "20 ms"),
        (0.0996, "0.10 s"),
        (0.92, "0.92 s"),
        (9.994, "9.99 s"),
        (12.34, "12.3 s"),
    ],
)
def test_a_duration_is_shown_with_two_or_three_digits(duration: float, expected: str) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize("text", ["", "1_0", "٣", "1.0", "0x10", " 1", "1e3"])
def test_a_text_that_is_no_plain_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_int(text)


@pytest.mark.parametrize("text", ["", "1_0.0", "٣.٣", "nan", "inf", "-", ".", "1e", " 1"])
def test_a_text_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_float(text)


def test_a_plain_number_is_read() -> None:
    assert [parse_int(text) for text in ("0", "+7", "-12")] == [0, 7, -12]
    assert [parse_float(text) for text in ("1", ".5", "-2.", "1e3", "+1.5E-1")] == [1.0, 0.5, -2.0, 1e3, 0.15]
    assert parse_float("1e999") == math.inf


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ñandú 🐦.png", "ñandú 🐦.png"),
        ("line\nfeed", "line\\nfeed"),
        ("\x1b[31mred\t", "\\x1b[31mred\\t"),
        ("caf\udce9", "caf\\xe9"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_a_name_is_shown_on_one_line_without_control_characters(name: str, shown: str) -> None:
    assert printable(name) == shown
    printable(name).encode()


@pytest.mark.parametrize(
    ("value", "english", "spanish"),
    [
        (33.3333, "33.3", "33,3"),
        (0.27736, "0.277", "0,277"),
        (0.0004, "0", "0"),
        (23.8904, "23.9", "23,9"),
        (43.692, "43.7", "43,7"),
        (2600.04, "2600", "2600"),
        (1.0, "1", "1"),
        (0.0, "0", "0"),
        (math.inf, "inf", "inf"),
    ],
)
def test_number_of_a_table_has_the_digits_that_mean_something(
    value: float, english: str, spanish: str
) -> None:
    for lang, expected in (("en", english), ("es", spanish)):
        set_language(lang)
        assert significant(value) == expected
        assert str(Table(("a",), [(value,)])).split() == ["a", expected]
    set_language(None)


def test_spanish_durations_and_measurements_have_a_comma() -> None:
    set_language("es")
    assert [seconds(t) for t in (0.0004, 0.92, 12.34)] == ["0,4 ms", "0,92 s", "12,3 s"]
    assert str(Timing((0.5, 0.51, 0.6))) == "0,51 s (0,50–0,60, 3×)"
    assert f"{Spoken(1.5):.2f} s" == "1,50 s" and f"{Spoken(0.5):g}" == "0,5"
    set_language(None)
