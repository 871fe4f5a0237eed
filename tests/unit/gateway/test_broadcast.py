"""The dashboard's stream: made once for all pages of a language, everything first, nothing piles up."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from labkit.core.errors import N_, ClusterNotRunning
from labkit.gateway.broadcast import SHORTEST_S, Broadcast
from labkit.gateway.gateway import Gateway
from labkit.gateway.last_fault import LastFault
from labkit.gateway.moments import Present, Sample
from labkit.gateway.timeline import Timeline
from labkit.panel.feed import Feed
from tests.tools.made_histories import demo
from tests.tools.panel_moments import status, worker


class MadeGateway:
    """A gateway whose history is the demo's; something happens all the time."""

    def __init__(self) -> None:
        self.live = self
        self.status = self
        self.pending: dict[str, str] = {}
        self.compared = None
        self.down = False
        feed = Feed()
        events = demo()
        feed.read(events, events[-1].at, 0.0)
        self._present = Present(feed, Timeline(), LastFault(), deque([Sample(1.0, 0, 0, *[None] * 4)]), 0)

    @contextmanager
    def news(self) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        event.set()
        event.clear = lambda: None  # type: ignore[method-assign]
        yield event

    @contextmanager
    def present(self) -> Iterator[Present]:
        yield self._present

    def get(self) -> dict[str, Any]:
        if self.down:
            raise ClusterNotRunning(N_("the cluster {name!r} is down"), name="made")
        return status(worker())


async def beside(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def made() -> tuple[MadeGateway, Broadcast]:
    gateway = MadeGateway()
    return gateway, Broadcast(cast(Gateway, gateway), beside)


async def next_of(stream: AsyncIterator[bytes]) -> tuple[str, dict[str, Any]]:
    first, second = (await asyncio.wait_for(anext(stream), 10)).decode().strip().split("\r\n")
    return first.removeprefix("event: "), json.loads(second.removeprefix("data: "))


def test_a_page_gets_everything_first_and_then_what_is_new() -> None:
    async def read() -> list[bool]:
        _gateway, broadcast = made()
        stream = broadcast.listen("en")
        fulls = [(await next_of(stream))[1]["full"] for _ in range(3)]
        await stream.aclose()
        return fulls

    assert asyncio.run(read()) == [True, False, False]


def test_pages_of_a_language_share_each_moment_and_there_are_at_most_four_a_second() -> None:
    async def read() -> tuple[list[str], int, float]:
        _gateway, broadcast = made()
        began = time.monotonic()
        streams = [broadcast.listen(language) for language in ("en", "en", "en", "es", "es")]
        joins = []
        for _ in range(4):
            bodies = await asyncio.gather(*(next_of(stream) for stream in streams))
            joins += [body["log"][0][2] if body["log"] else "" for _name, body in bodies]
        return joins, broadcast.made, time.monotonic() - began

    joins, encoded, seconds = asyncio.run(read())
    assert joins[0] == joins[1] == joins[2] != joins[3] == joins[4]
    assert encoded <= 2 * 2 * (seconds / SHORTEST_S + 1), "two languages, each with and without the beginning"


def test_a_page_that_does_not_keep_up_gets_everything_again() -> None:
    async def read() -> list[bool]:
        _gateway, broadcast = made()
        slow, quick = broadcast.listen("en"), broadcast.listen("en")
        fulls = [(await next_of(slow))[1]["full"]]
        for _ in range(4):
            await next_of(quick)
        for _ in range(2):
            fulls.append((await next_of(slow))[1]["full"])
        return fulls

    fulls = asyncio.run(read())
    assert fulls[0] is True and fulls[-1] is True, "one moment waited for it; those after it were not kept"


def test_a_cluster_that_is_down_is_said_and_its_return_shows_everything() -> None:
    async def read() -> list[tuple[str, Any]]:
        gateway, broadcast = made()
        gateway.down = True
        stream = broadcast.listen("en")
        name, body = await next_of(stream)
        seen = [(name, body["problem"])]
        gateway.down = False
        while (told := await next_of(stream))[0] == "gone":
            pass
        return [*seen, (told[0], told[1]["full"])]

    assert asyncio.run(read()) == [("gone", "the cluster 'made' is down"), ("moment", True)]


def test_nothing_is_made_while_no_page_is_open() -> None:
    async def read() -> tuple[int, int]:
        _gateway, broadcast = made()
        stream = broadcast.listen("en")
        await next_of(stream)
        await stream.aclose()
        task = broadcast._task
        assert task is not None
        await asyncio.wait_for(task, 10)
        before = broadcast.made
        await asyncio.sleep(2 * SHORTEST_S)
        return before, broadcast.made

    before, after = asyncio.run(read())
    assert before == after >= 1
