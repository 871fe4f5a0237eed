"""Redis URLs: the one parser, and how a URL looks without its secrets. Standard library only.

``redis://[user[:password]@]host[:port][/database]``, ``rediss://`` for TLS, and
``unix://[user:password@]/socket``; with ``?db=2`` and redis-py's options for TLS behind it.
``labkit.support.settings`` refuses everything else, so each later user of the URL (broker, mirror, redis
shell, doctor, lessons) finds the same server in it.

No message repeats a secret. What cannot be parsed is not quoted at all, because nothing tells which part of
it is the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from labkit.core.errors import N_, SettingsError
from labkit.support.text import parse_int

DEFAULT_PORT = 6379
SCHEMES = ("redis", "rediss", "unix")
_HOST = re.compile(r"[\w.:%-]+")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_TLS = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_LOGIN = ("username", "password")


class Address(NamedTuple):
    """Where a Redis server listens; its text form has no password. With a ``path`` it is a Unix socket."""

    host: str
    port: int
    path: str
    database: int

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True)
class RedisUrl:
    """What a Redis URL names."""

    scheme: str
    address: Address
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: dict[str, Any] = field(default_factory=dict)
    """redis-py's options for TLS."""

    def __str__(self) -> str:
        """The URL without its secrets."""
        secret = "***@" if self.username is not None or self.password is not None else ""
        address = self.address
        if address.path:
            return f"unix://{secret}{address.path}" + (f"?db={address.database}" if address.database else "")
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{self.scheme}://{secret}{host}:{address.port}/{address.database}"

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of redis-py's connections for it, without a connection's class."""
        login = {"username": self.username, "password": self.password, "db": self.address.database}
        if self.address.path:
            return {"path": self.address.path, **login}
        return {"host": self.address.host, "port": self.address.port, **login, **self.tls}


def parse(url: str) -> RedisUrl:
    """Return what ``url`` names. Raises SettingsError with what is wrong, and without a secret."""
    if re.search(r"[\x00-\x20\x7f-\xa0]", url):  # urlsplit would drop some of them silently
        raise _refused(N_("spaces and control characters are not allowed in it"))
    scheme, colon, _rest = url.partition("://")
    if not colon or scheme not in SCHEMES:
        raise _refused(N_("it must begin with redis://, rediss:// or unix://"))
    try:
        parts = urlsplit(url)
    except ValueError:  # such as [::1 without the bracket's end
        raise _refused(N_("its host is not valid")) from None
    if "@" in parts.path + parts.query + parts.fragment:
        raise _refused(N_("in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"))
    if parts.fragment or url.endswith("#"):
        raise _refused(N_("'#' is not allowed in it; in a password, write %23"))
    query = _query(parts.query, scheme)
    login, at, place = parts.netloc.rpartition("@")
    user, has_password, password = login.partition(":")
    username = unquote(user) if at and user else query.pop("username", None)
    secret = unquote(password) if has_password else query.pop("password", None)
    in_query = query.pop("db", None)
    if scheme == "unix":
        if place:
            raise _refused(N_("the path of a Unix socket begins with a slash: unix:///run/redis.sock"))
        path = unquote(parts.path)
        if path in ("", "/"):
            raise _refused(N_("it names no Unix socket; write it like unix:///run/redis.sock"))
        address = Address("localhost", DEFAULT_PORT, path, _database(in_query or "0"))
    else:
        host, port = _host_and_port(place)
        in_path = unquote(parts.path).removeprefix("/")
        address = Address(host, port, "", _database(in_query or in_path.removesuffix("/") or "0"))
    tls = {name: _tls_value(name, value) for name, value in query.items()}
    return RedisUrl(scheme, address, username or None, secret or None, tls)


def _host_and_port(place: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", place)
    if found is None:
        raise _refused(N_("its host is not valid; an IPv6 address stands in brackets, like [::1]"))
    host = unquote(found[1].strip("[]")) or "localhost"
    if not _HOST.fullmatch(host):
        raise _refused(N_("its host is not valid"))
    try:
        port = parse_int(found[2]) if found[2] else DEFAULT_PORT
    except ValueError:
        port = 0
    if not 1 <= port <= 65535:
        raise _refused(
            N_("its port is not a number from 1 to 65535 (with a password: redis://:password@host:6379/0)")
        )
    return host, port


def _database(text: str) -> int:
    try:
        number = parse_int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 31:
        raise _refused(N_("its database is not a whole number, 0 or more, as in redis://127.0.0.1:6379/0"))
    return number


def _query(text: str, scheme: str) -> dict[str, str]:
    """Return what stands behind the question mark, by name."""
    known = ("db", *_LOGIN, *(_TLS if scheme == "rediss" else ()))
    pairs = parse_qsl(text, keep_blank_values=True, separator="&")
    for name, value in pairs:
        if name in known and value:
            continue
        if name in _TLS and scheme != "rediss":
            raise _refused(N_("{name} is for TLS, which begins with rediss://"), name=name)
        if value and name.isidentifier():
            raise _refused(N_("{name} is unknown; known: {known}"), name=name, known=", ".join(known))
        raise _refused(N_("what stands behind '?' is not understood; known: {known}"), known=", ".join(known))
    if len(dict(pairs)) < len(pairs):
        raise _refused(N_("an option stands in it twice"))
    return dict(pairs)


def _tls_value(name: str, text: str) -> str | bool:
    if name == "ssl_check_hostname":
        if text.lower() not in _FLAGS:
            raise _refused(N_("{name} is true or false"), name=name)
        return _FLAGS[text.lower()]
    if name == "ssl_cert_reqs" and text not in ("none", "optional", "required"):
        raise _refused(N_("{name} is none, optional or required"), name=name)
    return text


def _refused(why: str, **params: Any) -> SettingsError:
    return SettingsError(
        N_("this is no address of a Redis: {why}; write it like redis://127.0.0.1:6379/0"),
        why=SettingsError(why, **params),
    )


def without_password(url: str) -> str:
    """Return ``url`` fit for a log or a message: a URL with a login loses it, and its options."""
    try:
        parsed = parse(url)
    except SettingsError:
        scheme, colon, rest = url.partition("://")
        if not colon or scheme not in SCHEMES:
            return "***"
        after_login = re.fullmatch(r".*@([\w.-]+(?::[0-9]+)?(?:/[0-9]*)?)", rest, re.ASCII)
        return f"{scheme}://***@{after_login[1]}" if after_login is not None else f"{scheme}://***"
    return url if parsed.username is None and parsed.password is None else str(parsed)
