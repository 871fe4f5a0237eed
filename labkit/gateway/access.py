"""Decides who may make which request. Pure: the facts of a request in, a problem or None out.

* The ``Host`` must be one of ours. A web page that lets its own name point at 127.0.0.1 (DNS rebinding) sends
  its own name there.
* A foreign ``Origin`` is refused: a page from elsewhere may not send requests through the user's
  browser.
* On loopback, reading needs no token. Changes do, except the course's own calls.
* From any other address, every request needs the token, except the pages and their files (``STATIC``). Those
  are the same for every cluster and say nothing of this one: the page asks for the token, and all that it
  shows then comes with it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from labkit.core.errors import N_
from labkit.gateway.problems import Problem

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
FREE_ON_LOOPBACK = re.compile(r"/api/(process|process-batch/[\w-]+)/?")
"""The course's own calls: they change nothing but the queue, and work as pasted."""
STATIC = re.compile(r"/|/docs/?|/openapi\.json|/static/[\w./-]+")
"""What tells nothing of this cluster: without it no browser could ask for the token."""
SHOW_TOKEN = N_("python -m labkit api --show-token prints it; send the header 'Authorization: Bearer TOKEN'")
BEARER = {"WWW-Authenticate": 'Bearer realm="labkit"'}


class Facts(NamedTuple):
    """What access depends on. A header that is missing is an empty text."""

    method: str
    path: str
    host: str
    origin: str
    authorization: str
    peer: str
    """The address that the connection came from; empty if it is not known."""
    site: str = ""
    """``Sec-Fetch-Site``: how a browser says where the request came from."""
    local: str = ""
    """The address of this machine that the connection came to; empty if it is not known."""


@dataclass(frozen=True)
class Access:
    """The rules for one gateway.

    ``names``: hosts by which it may be called, besides the loopback names. ``near``: more addresses that
    count as loopback, such as a container's own gateway when the port is published on loopback only.
    ``open``: other machines may call it by the address that they reached it at.
    """

    token: str
    names: Collection[str] = ()
    near: Collection[str] = ()
    open: bool = False

    def check(self, facts: Facts) -> Problem | None:
        """Return why a request is refused, or None if it may be served."""
        return self._wrong_host(facts) or self._foreign(facts) or self._without_token(facts)

    def _wrong_host(self, facts: Facts) -> Problem | None:
        name = host_name(facts.host)
        if name in LOOPBACK_NAMES or name in self.names:
            return None
        # An address cannot be made to point elsewhere, as a name can.
        if self.open and name and name.strip("[]") == facts.local:
            return None
        return Problem(
            400,
            "host",
            N_("this server is not called {host!r}"),
            field="Host",
            allowed=N_("{names}"),
            next_step=N_("use the address that 'python -m labkit status' shows"),
            host=facts.host[:80],
            names=", ".join(sorted(self._names_at(facts.local))),
        )

    def _names_at(self, local: str) -> set[str]:
        """Return the names that work: nothing listens at [::1] for a server that is reached by IPv4."""
        return {*LOOPBACK_NAMES, *self.names} - (set() if ":" in local else {"[::1]"})

    def _foreign(self, facts: Facts) -> Problem | None:
        ours = {f"http://{facts.host.lower()}", f"https://{facts.host.lower()}"}
        foreign = bool(facts.origin) and facts.origin.lower() not in ours
        if not foreign and (facts.method in READING or facts.site not in ("cross-site", "same-site")):
            return None
        return Problem(
            403,
            "origin",
            N_("a page of {origin} may not use this server")
            if facts.origin
            else N_("a page of another site may not use this server"),
            field="Origin" if facts.origin else "Sec-Fetch-Site",
            next_step=N_("open this server's own page, or call it with a program instead of a browser"),
            origin=facts.origin[:80],
        )

    def _without_token(self, facts: Facts) -> Problem | None:
        if facts.method in ("GET", "HEAD") and STATIC.fullmatch(facts.path) and not facts.authorization:
            return None
        near = self._is_near(facts.peer)
        free = facts.method in READING or FREE_ON_LOOPBACK.fullmatch(facts.path)
        if near and free and not facts.authorization:
            return None
        scheme, _space, given = facts.authorization.partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return None
        if facts.authorization:
            return Problem(
                401, "token", N_("this is not the cluster's token"), next_step=SHOW_TOKEN, headers=BEARER
            )
        template = (
            N_("{method} {path} changes something, so it needs the cluster's token")
            if near
            else N_("requests from another machine need the cluster's token")
        )
        return Problem(
            401,
            "token",
            template,
            field="Authorization",
            next_step=SHOW_TOKEN,
            headers=BEARER,
            method=facts.method,
            path=facts.path[:80],
        )

    def _is_near(self, peer: str) -> bool:
        if peer in self.near:
            return True
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def host_name(host: str) -> str:
    """Return the name in a ``Host`` header, in small letters and without its port; "" if it is malformed."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?", host)
    return found[1].lower() if found else ""
