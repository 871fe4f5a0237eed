"""The door of the HTTP side: each request passes here before anything else reads it.

One ASGI middleware applies ``labkit.gateway.access``, bounds the body (bytes, pace) and the number of
requests under way, chooses the language of the answer, and puts the security headers on it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labkit.core.errors import N_
from labkit.gateway.access import Access, Facts
from labkit.gateway.problems import MEDIA_TYPE, Problem
from labkit.support.i18n import in_language, language, preferred

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
)


@dataclass(frozen=True)
class Limits:
    """Bounds on requests; sizes in bytes, times in seconds."""

    body_bytes: int = 32 << 20
    """A body larger than this is refused; only its beginning is read."""
    patience_s: float = 5.0
    """A body may take this long, and a second more for each ``slowest_bytes_per_s`` bytes that have come."""
    slowest_bytes_per_s: int = 64 << 10
    discarded_bytes: int = 64 << 20
    """Of a body that is refused, this much is read and thrown away. A connection that is closed with bytes
    unread is reset, and its caller would never see the answer."""
    under_way: int = 256
    """Requests at the same time, streams of events included."""


@dataclass
class Guard:
    """The middleware; see the module's head. ``app`` is what it protects."""

    app: ASGIApp
    access: Access
    limits: Limits = field(default_factory=Limits)
    under_way: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer with the problem that forbids it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # nothing here speaks WebSocket: the server closes the connection
        headers = _headers(scope)
        scope = _with_slash(scope)
        with in_language(preferred(headers.get("accept-language", "")) or language()):
            body = _Body(receive, self.limits)
            answer = _Answer(send, scope["path"], body, without_body=scope["method"] == "HEAD")
            problem = self.access.check(_facts(scope, headers)) or self._too_much(headers)
            if problem is not None:
                await body.discard()
                await answer.problem(problem)
                return
            self.under_way += 1
            try:
                await self.app(_as_get(scope), body.receive, answer.send)
            finally:
                self.under_way -= 1

    def _too_much(self, headers: dict[str, str]) -> Problem | None:
        if self.under_way >= self.limits.under_way:
            return Problem(
                429,
                "busy",
                N_("{n} requests are under way, which is the most at the same time"),
                next_step=N_("send it again in a second"),
                headers={"Retry-After": "1"},
                n=self.limits.under_way,
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return Problem(400, "length", N_("Content-Length is not a number"), field="Content-Length")
        return too_large(self.limits.body_bytes) if int(length) > self.limits.body_bytes else None


class _Body:
    """The body of one request: counts its bytes and watches its pace.

    A body that is too large or too slow ends early for the application, as if its sender had gone, and
    ``refusal`` holds the reason. The caller gets that reason, not the application's answer to half a body.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self.refusal: Problem | None = None
        self._receive = receive
        self._limits = limits
        self._bytes = 0
        self._ended = False
        self._closed = False
        self._began = time.monotonic()

    async def receive(self) -> Message:
        """Return the next message; ``http.disconnect`` for a body that is refused."""
        if self._closed:
            return {"type": "http.disconnect"}
        if self._ended:
            return await self._receive()  # waits for the end of the connection, however long that takes
        due = self._began + self._limits.patience_s + self._bytes / self._limits.slowest_bytes_per_s
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(
                Problem(
                    408,
                    "slow-body",
                    N_("after {seconds:.0f} s only {bytes} bytes of the body were here"),
                    next_step=N_("send it faster, or send a smaller picture"),
                    headers={"Connection": "close"},
                    seconds=time.monotonic() - self._began,
                    bytes=self._bytes,
                )
            )
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._bytes > self._limits.body_bytes:
            return self._refuse(too_large(self._limits.body_bytes))
        return message

    def close(self) -> None:
        """Report the end of the connection from now on: the answer is complete."""
        self._closed = True

    async def discard(self) -> None:
        """Read the rest of the body and throw it away, within the limits of pace and bytes."""
        self._limits = replace(self._limits, body_bytes=self._limits.discarded_bytes)
        while not self._ended:
            if (await self.receive())["type"] == "http.disconnect":
                return

    def _refuse(self, problem: Problem) -> Message:
        self.refusal = self.refusal or problem
        self._ended = problem.status == 408
        return {"type": "http.disconnect"}


class _Answer:
    """The answer to one request: adds the security headers. A refused body's problem takes its place."""

    def __init__(self, send: Send, path: str, body: _Body, *, without_body: bool = False) -> None:
        self._send = send
        self._without_body = without_body
        self._path = path
        self._body = body
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Send a part of the application's answer."""
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if (refusal := self._body.refusal) is not None:
                self._replaced = True
                await self._body.discard()
                await self.problem(refusal)
                return
            message["headers"] = [*message.get("headers", ()), *HEADERS]
            if self._without_body:
                self._replaced = True
                await self._send(message)
                await self._send({"type": "http.response.body", "body": b""})
                self._body.close()
                return
        await self._send(message)

    async def problem(self, problem: Problem) -> None:
        """Answer with a problem; whatever the application sends is dropped."""
        self._replaced = True
        body = json.dumps(problem.body(self._path), ensure_ascii=False).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"content-language", language().encode()),
            *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
            *HEADERS,
        ]
        await self._send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self._without_body else body})


def _as_get(scope: Scope) -> Scope:
    """Return a HEAD as the GET whose headers it asks for (RFC 9110, section 9.3.2)."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _with_slash(scope: Scope) -> Scope:
    """Return the request at its address with a slash at the end, as the course writes them.

    A redirect would do for browsers. curl does not follow one, and if told to, it makes a GET of a POST.
    """
    path = scope["path"]
    if not path.startswith("/api/") or path.endswith("/"):
        return scope
    return {**scope, "path": f"{path}/", "raw_path": scope.get("raw_path", b"") + b"/"}


def too_large(limit: int) -> Problem:
    """Return the problem of a body with more than ``limit`` bytes."""
    return Problem(
        413,
        "body-too-large",
        N_("the body is larger than {mib} MiB"),
        next_step=N_("send fewer or smaller pictures"),
        headers={"Connection": "close"},
        mib=limit >> 20,
    )


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by their names in small letters; of a header that comes twice, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _facts(scope: Scope, headers: dict[str, str]) -> Facts:
    peer, local = scope.get("client"), scope.get("server")
    return Facts(
        scope["method"],
        scope["path"],
        headers.get("host", ""),
        headers.get("origin", ""),
        headers.get("authorization", ""),
        peer[0] if peer else "",
        headers.get("sec-fetch-site", ""),
        local[0] if local else "",
    )
