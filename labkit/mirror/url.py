"""Redis URLs: what they name, and how they look without their password. Standard library only."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from labkit.core.errors import N_, SettingsError

DEFAULT_PORT = 6379


class Address(NamedTuple):
    """Where a Redis server listens; its text form has no password. With a ``path`` it is a Unix socket."""

    host: str
    port: int
    path: str
    database: int

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """Return what a URL names: ``redis://[user][:password@]host[:port][/db]``, ``rediss://...``, ``unix:///path``.

    Raises SettingsError for anything else; the message does not repeat the password.
    """
    try:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme not in ("redis", "rediss", "unix") or (parts.scheme == "unix" and not path):
            raise ValueError(parts.scheme)
        in_query = parse_qs(parts.query).get("db", [""])[0]
        in_path = "" if parts.scheme == "unix" else path.strip("/")
        return Address(
            host=parts.hostname or "localhost",
            port=parts.port or DEFAULT_PORT,
            path=path if parts.scheme == "unix" else "",
            database=int(in_query or in_path or "0"),
        )
    except ValueError as error:
        raise SettingsError(
            N_("{url!r} is no address of a Redis; write it like redis://127.0.0.1:6379/0"),
            url=without_password(url),
        ) from error


def without_password(url: str) -> str:
    """Return ``url`` fit for a log or a message: everything before the ``@`` is replaced."""
    return re.sub(r"//.*@", "//***@", url)
