"""Reads the value of one environment variable: (its name, its text) -> value, or SettingsError.

Each error names the variable, its text and what is expected.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from labkit.core.broker.policies import POLICIES
from labkit.core.errors import N_, SettingsError
from labkit.core.names import is_label, is_name
from labkit.core.protocol.rules import MAX_SLOTS
from labkit.support.redis_url import parse as parse_redis_url
from labkit.support.text import parse_float, parse_int

BACKENDS = ("local", "compose")
API_HOSTS = ("127.0.0.1", "0.0.0.0")


def read_text(name: str, text: str) -> str:
    return text


def read_host(name: str, text: str) -> str:
    if text != "*" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", text):
        raise SettingsError(
            N_(
                "{name}={value!r}: a name or an IPv4 address is expected, like 127.0.0.1 or 0.0.0.0, "
                "without a port"
            ),
            name=name,
            value=text,
        )
    return text


def read_api_host(name: str, text: str) -> str:
    if text not in API_HOSTS:
        raise SettingsError(
            N_(
                "{name}={value!r}: 127.0.0.1 (for this machine alone) or 0.0.0.0 (for others, too) is "
                "expected"
            ),
            name=name,
            value=text,
        )
    return text


def read_whole_number(name: str, text: str, low: int = 1, high: int = 1 << 62) -> int:
    try:
        number = parse_int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        template = (
            N_("{name}={value!r}: a whole number from {low} to {high} is expected")
            if high < 1 << 62
            else N_("{name}={value!r}: a whole number, {low} or more, is expected")
        )
        raise SettingsError(template, name=name, value=text, low=low, high=high)
    return number


def read_port(name: str, text: str) -> int:
    return read_whole_number(name, text, 1, 65535)


def read_slots(name: str, text: str) -> int:
    return read_whole_number(name, text, 1, MAX_SLOTS)


def read_positive_number(name: str, text: str) -> float:
    try:
        number = parse_float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SettingsError(
            N_("{name}={value!r}: a number greater than 0 is expected, like 0.5"), name=name, value=text
        )
    return number


def read_name(name: str, text: str) -> str:
    """Return a name that is safe as a file name and in a log line."""
    if not is_name(text):
        raise SettingsError(
            N_("{name}={value!r}: a name is expected, like worker-1: letters, digits, - _ . and at most 64"),
            name=name,
            value=text,
        )
    return text


def read_language(name: str, text: str) -> str:
    if text not in ("es", "en"):
        raise SettingsError(N_("{name}={value!r}: es or en is expected"), name=name, value=text)
    return text


def read_backend(name: str, text: str) -> str:
    if text not in BACKENDS:
        raise SettingsError(
            N_("{name}={value!r}: one of these backends is expected: {known}"),
            name=name,
            value=text,
            known=", ".join(BACKENDS),
        )
    return text


def read_policy(name: str, text: str) -> str:
    if text not in POLICIES and not re.fullmatch(r"[\w.]+:\w+", text):  # see labkit.calls.policy_loader
        raise SettingsError(
            N_(
                "{name}={value!r}: one of these policies is expected: {known}; or your own, as "
                "module:function, like work.mine:choose for the function choose in work/mine.py"
            ),
            name=name,
            value=text,
            known=", ".join(POLICIES),
        )
    return text


def words(text: str) -> tuple[str, ...]:
    """Return the comma-separated words of ``text``, each once, in the order given."""
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def read_words(name: str, text: str) -> tuple[str, ...]:
    return words(text)


def read_capabilities(name: str, text: str) -> tuple[str, ...]:
    found = words(text)
    for word in found:
        if not is_label(word) or len(word.split()) > 1:
            raise SettingsError(
                N_(
                    "{name}={value!r}: names of filters with commas between them are expected, "
                    "like resize,blur"
                ),
                name=name,
                value=text,
            )
    return found


def read_modules(name: str, text: str) -> tuple[str, ...]:
    modules = read_words(name, text)
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise SettingsError(
                N_("{name}={value!r}: names of Python modules are expected, like labkit.jobs,work"),
                name=name,
                value=text,
            )
    return modules


def read_addresses(name: str, text: str) -> tuple[str, ...]:
    addresses = read_words(name, text)
    for address in addresses:
        if not is_address(address):
            raise SettingsError(
                N_("{name}={value!r}: addresses like tcp://127.0.0.1:5556 are expected"),
                name=name,
                value=text,
            )
    return addresses


def is_address(text: str) -> bool:
    """Return whether ``text`` looks like tcp://127.0.0.1:5556: a name or number, and a port."""
    found = re.fullmatch(r"tcp://[^\s/:]+:([0-9]{1,5})", text)
    return found is not None and 1 <= int(found[1]) <= 65535


def read_redis_url(name: str, text: str) -> str:
    try:
        parse_redis_url(text)
    except SettingsError as error:  # its text repeats no secret
        # A value is quoted only if nothing in it can be a password.
        is_plain = re.fullmatch(r"[\w.-]+:[0-9]+(/[0-9]*)?", text) is not None
        template = N_("{name}={value!r}: {why}") if is_plain else N_("{name}: {why}")
        raise SettingsError(template, name=name, value=text if is_plain else "***", why=error) from None
    return text


def read_path(name: str, text: str) -> Path:
    try:
        return expanded(text)
    except SettingsError as error:
        if name == "LABKIT_HOME":
            raise
        raise SettingsError(
            N_("{name}={value!r}: this home folder is unknown; write the whole path"), name=name, value=text
        ) from error


def expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # a user without a home folder, as in some containers
        raise SettingsError(
            N_("the home folder of this user is unknown; set LABKIT_HOME to a folder that you may write to")
        ) from error
