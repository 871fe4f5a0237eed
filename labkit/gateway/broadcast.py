"""Sends the dashboard's moments to all browsers: at most four a second, each made once for a language.

One task in the event loop makes the moments while a page is open. A page gets everything at first, and then
what is new. A browser that does not take them as fast as they come misses some, and gets everything again:
nothing waits for it, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from labkit.core.errors import LabkitError
from labkit.gateway.moments import Seen, moment
from labkit.gateway.registry import Cached
from labkit.support.i18n import in_language, translate_error

if TYPE_CHECKING:
    from labkit.cluster.status import ClusterStatus
    from labkit.gateway.gateway import Gateway

log = logging.getLogger("labkit.gateway")

SHORTEST_S = 0.25
IDLE_S = 1.0
"""Between two moments of a cluster in which nothing happens."""
AFTER_A_BUG_S = 5.0
"""Pause after a moment that could not be made: its traceback is in the log, and need not fill it."""


class Browser:
    """One open page: it holds one moment at most that has not been taken yet."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.has_all = False
        """Whether it has had everything up to the latest moment."""
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(1)

    def send(self, body: bytes, complete: bool) -> None:
        """Give it a moment; if the last one still waits, everything comes later instead.

        ``complete``: it has had everything then.
        """
        try:
            self.waiting.put_nowait(body)
            self.has_all = self.has_all or complete
        except asyncio.QueueFull:
            self.has_all = False


class Broadcast:
    """See the module's head. ``beside`` runs a call that may wait outside of the event loop."""

    def __init__(self, gateway: Gateway, beside: Callable[..., Awaitable[Any]]) -> None:
        self._gateway = gateway
        self._beside = beside
        self._browsers: set[Browser] = set()
        self._seen = Seen()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.made = 0
        """How many moments were encoded."""

    async def listen(self, language: str) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events for one page until it is closed."""
        browser = Browser(language)
        self._browsers.add(browser)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="dashboard")
        try:
            while True:
                yield await browser.waiting.get()
        finally:
            self._browsers.discard(browser)

    async def _run(self) -> None:
        with self._gateway.live.news() as news:
            while self._browsers:
                began = time.monotonic()
                news.clear()
                self._wake.clear()
                try:
                    await self._send_moment()
                except Exception:
                    log.exception("the dashboard's moment")
                    await asyncio.sleep(AFTER_A_BUG_S)
                await asyncio.sleep(max(0.0, began + SHORTEST_S - time.monotonic()))
                waits = [asyncio.ensure_future(event.wait()) for event in (news, self._wake)]
                await asyncio.wait(waits, timeout=IDLE_S - SHORTEST_S, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()

    async def _send_moment(self) -> None:
        """Make the present moment for each language and kind of page, and hand it to the browsers."""
        browsers = list(self._browsers)
        wanted = {(browser.language, browser.has_all) for browser in browsers}
        bodies, seen = await self._beside(self._encoded, wanted, self._seen)
        if seen is not None:
            self._seen = seen
        for browser in browsers:
            browser.send(bodies[browser.language, browser.has_all], complete=seen is not None)

    def _encoded(
        self, wanted: set[tuple[str, bool]], seen: Seen
    ) -> tuple[dict[tuple[str, bool], bytes], Seen | None]:
        """Return the moments by language and whether the page has what came before, and what is seen then."""
        bodies: dict[tuple[str, bool], bytes] = {}
        now_seen: Seen | None = None
        try:
            status = self._status()
        except LabkitError as error:
            for language, has_all in wanted:
                with in_language(language):
                    bodies[language, has_all] = _event("gone", {"problem": translate_error(error)})
            return bodies, None
        gateway = self._gateway
        with gateway.live.present() as present:
            monotonic, wall = time.monotonic(), time.time()
            for language, has_all in wanted:
                with in_language(language):
                    made = moment(
                        status,
                        present,
                        seen if has_all else Seen(),
                        monotonic,
                        wall,
                        dict(gateway.pending),
                        gateway.compared,
                    )
                now_seen = made.seen
                bodies[language, has_all] = _event("moment", made.body)
                self.made += 1
        return bodies, now_seen

    def _status(self) -> ClusterStatus:
        cached: Cached[ClusterStatus] = self._gateway.status
        return cached.get()


def _event(name: str, body: dict[str, Any]) -> bytes:
    """Return a server-sent event; JSON on one line."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\r\ndata: {text}\r\n\r\n".encode()
