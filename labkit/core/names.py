"""Names and texts from elsewhere: which are accepted, and how any text is shown.

A worker's id becomes a key in Redis, a line in a log, a cell of a table and part of a file name. So one rule
holds for ids from the environment (``WORKER_ID``), for clusters, and for what peers say in their hello. Text
that cannot be refused (an exception's message, a file's name, what a process printed) is shown through
``without_controls``: a terminal obeys control characters, and a line feed forges a line.
"""

from __future__ import annotations

import re

from labkit.core.errors import N_, InvalidInput

MAX_ID = 64
"""Characters of a worker's id, a cluster's name, and a client's name."""
NAME_RULE = "letters, digits, - _ . and at most 64 of them, a letter or digit first"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# C0, DEL, C1; separators of lines and paragraphs; marks that change the direction of the text around them.
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
_CONTROLS = re.compile(f"[{_CONTROL}]")
_BUT_LINES = re.compile(f"[{_CONTROL}]".replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def is_name(text: str) -> bool:
    """Return whether ``text`` is safe as a file name, as a key and in a line: see ``NAME_RULE``."""
    return _NAME.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Return whether ``text`` may be a client's name: any script and spaces, but one short visible line."""
    return len(text) <= MAX_ID and _CONTROLS.search(text) is None


def check_label(name: str) -> None:
    """Raise InvalidInput if this cannot be a client's name."""
    if not is_label(name):
        raise InvalidInput(
            N_("a client's name is one visible line of at most {most} characters, not {name!r}"),
            most=MAX_ID,
            name=name[: 2 * MAX_ID],
        )


def without_controls(text: str, lines: bool = True) -> str:
    r"""Return ``text`` with control characters escaped (``\x1b``); ``lines`` spares line feeds and tabs."""
    if text.isascii() and text.isprintable():
        return text
    pattern = _BUT_LINES if lines else _CONTROLS
    return pattern.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
