"""Why a value in a request has the wrong shape, in sentences of ours.

pydantic checks the shape and gives its reason in English only. ``sentence`` has one for each of the common
kinds, which can be translated; the field, the value and the limits are filled in. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from labkit.core.errors import N_

MOST_SHOWN = 60
"""So many characters of a wrong value are repeated in the answer."""


class Sentence(NamedTuple):
    """What is wrong, and what may be there: templates for the same parameters."""

    template: str
    allowed: str = ""


_TEXT = Sentence(N_("{field} is {given}, which is no text"), N_("a text in quotes"))
_WHOLE = Sentence(N_("{field} is {given}, which is no whole number"), N_("a whole number, without quotes"))
_NUMBER = Sentence(N_("{field} is {given}, which is no number"), N_("a number"))
_YES_NO = Sentence(N_("{field} is {given}, which is neither true nor false"), "true, false")
_LIST = Sentence(N_("{field} is {given}, which is no list"), N_('a list, such as ["sharpen", "edges"]'))
_OBJECT = Sentence(N_("{field} is {given}, which is no JSON object"), N_("an object, in curly brackets"))

BY_TYPE: Mapping[str, Sentence] = {
    "missing": Sentence(N_("{field} is missing")),
    "extra_forbidden": Sentence(N_("this request has no field {field}")),
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _YES_NO,
    "bool_parsing": _YES_NO,
    "literal_error": Sentence(N_("{field} is {given}, which is none of the words for it"), N_("{expected}")),
    "list_type": _LIST,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "too_short": Sentence(
        N_("{field} has {actual_length} entries, which is too few"), N_("at least {min_length}")
    ),
    "too_long": Sentence(
        N_("{field} has {actual_length} entries, which is too many"), N_("at most {max_length}")
    ),
    "string_too_short": Sentence(N_("{field} is too short a text"), N_("length: at least {min_length}")),
    "string_too_long": Sentence(N_("{field} is too long a text"), N_("length: at most {max_length}")),
    "greater_than_equal": Sentence(N_("{field} is {given}, which is too small"), N_("at least {ge}")),
    "less_than_equal": Sentence(N_("{field} is {given}, which is too large"), N_("at most {le}")),
    "greater_than": Sentence(N_("{field} is {given}, which is too small"), N_("more than {gt}")),
    "less_than": Sentence(N_("{field} is {given}, which is too large"), N_("less than {lt}")),
}
"""The kinds of pydantic's errors that our requests can have. ``{given}`` is the value as it came."""

JSON_REASONS: Mapping[str, str] = {
    "Expecting value": N_("a value is missing or is not written as JSON"),
    "Expecting property name enclosed in double quotes": N_("a name in double quotes is missing"),
    "Expecting ':' delimiter": N_("a colon is missing"),
    "Expecting ',' delimiter": N_("a comma is missing"),
    "Unterminated string starting at": N_("a text has no end"),
    "Invalid control character at": N_("a text holds a line break or another control character"),
    "Invalid \\escape": N_("a text has a backslash before a wrong letter"),
    "Invalid \\uXXXX escape": N_("a text has \\u without four hexadecimal digits"),
    "Extra data": N_("something follows after the end of the value"),
    "Illegal trailing comma before end of object": N_("a comma stands before a closing bracket"),
    "Illegal trailing comma before end of array": N_("a comma stands before a closing bracket"),
}
"""Why a text is no JSON: the reasons of Python's reader, and ours. Sources: CPython's ``json.decoder``."""


def json_reason(message: str) -> str:
    """Return why a text is no JSON, in English; a reason that is not known stays as it is."""
    return JSON_REASONS.get(message.removesuffix(": "), message)


_NO_FILE = Sentence(N_("{field} is no file; with curl: -F {field}=@photo.jpg"))
_OTHER = Sentence(N_("{field}: {reason}"))
"""A kind that has no sentence yet keeps pydantic's reason."""


def sentence(error: Mapping[str, Any]) -> tuple[Sentence, dict[str, Any]]:
    """Return the sentence for one of pydantic's errors, and its parameters without ``field``."""
    reason = str(error.get("msg", ""))
    found = BY_TYPE.get(str(error.get("type")), _OTHER)
    if found is _OTHER and "UploadFile" in reason:
        found = _NO_FILE
    limits = {name: shown(value) for name, value in dict(error.get("ctx") or {}).items()}
    if "expected" in limits:  # pydantic: 'a', 'b' or 'c'
        limits["expected"] = ", ".join(re.findall(r"'([^']*)'", str(error["ctx"]["expected"])))
    limits.setdefault("actual_length", "?")  # pydantic does not count on beyond the limit
    return found, {"given": shown(error.get("input")), "reason": reason, **limits}


def shown(value: Any) -> str:
    """Return a value as JSON has it, shortened."""
    import json

    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"
