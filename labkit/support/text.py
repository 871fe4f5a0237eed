"""Text for people: durations, numbers as people write them, and names that may contain anything.

``parse_int`` and ``parse_float`` accept digits, a sign, a point and an exponent. Python's own ``int`` and
``float`` accept more, such as ``1_0`` for ten and digits of other scripts. In a setting or on a command line
those are slips, so they are refused.
"""

from __future__ import annotations

import math
import re

from labkit.support.i18n import language

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Spoken(float):
    """A number that is written as the reader's language writes it: in Spanish with a decimal comma.

    ``_("at {at:.2f} s").format(at=Spoken(at))``; the message itself stays the same in the catalogue.
    """

    def __format__(self, spec: str) -> str:
        return as_spoken(super().__format__(spec))


def as_spoken(number: str) -> str:
    """Return a number's digits with the decimal mark of the reader's language."""
    return number.replace(".", ",") if language() == "es" else number


def significant(value: float, digits: int = 3, most_decimals: int = 3) -> str:
    """Return a number with so many digits that mean something: 33.3, 0.277, 23.9, 1450; no trailing zeros.

    A small sample does not give 33.333 %, and one run of a program not 2600.0 ms.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), most_decimals)
    text = f"{value:.{decimals}f}"
    return as_spoken(text.rstrip("0").rstrip(".") if "." in text else text)


def seconds(duration: float) -> str:
    """Return a duration in seconds as text with its unit: 0 ms, 0.4 ms, 20 ms, 0.92 s, 12.3 s."""
    if 0.00005 <= duration < 0.00095:
        return f"{Spoken(duration * 1e3):.1f} ms"
    if duration < 0.0995:
        return f"{duration * 1e3:.0f} ms"
    return f"{Spoken(duration):.2f} s" if duration < 9.995 else f"{Spoken(duration):.1f} s"


def parse_int(text: str) -> int:
    """Return the whole number written in ``text``. Raises ValueError."""
    if not _INT.fullmatch(text):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


def parse_float(text: str) -> float:
    """Return the number written in ``text``: never NaN, infinity if too large. Raises ValueError."""
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def printable(text: str) -> str:
    """Return ``text`` on one line, with what could not be printed or would move the cursor as an escape.

    The name of a file may contain line feeds, escape sequences of terminals and bytes that are no UTF-8.
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python hands over names of files
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
