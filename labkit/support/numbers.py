"""Numbers as people write them: digits, a sign, a point, an exponent.

Python's own ``int`` and ``float`` take more: ``1_0`` is ten to them, and so are digits of other scripts. In a
setting or on a command line that is a slip, and is refused like any other text that is no number.
"""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def whole(text: str) -> int:
    """Return the whole number that ``text`` is. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"no whole number: {text!r}")
    return int(text)


def real(text: str) -> float:
    """Return the number that ``text`` is, never NaN; what is too large is infinity. Raises ValueError."""
    if not _REAL.fullmatch(text):
        raise ValueError(f"no number: {text!r}")
    return float(text)
