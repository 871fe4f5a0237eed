"""``/api/events/``: what happens in the cluster, as server-sent events that a reader can resume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.gateway.event_ring import Resumed, kinds_of
from labkit.gateway.live import Live
from labkit.gateway.problems import Problem
from labkit.gateway.routes.common import OfRequest

router = APIRouter(tags=["cluster"])

PING_S = 10
PIECE_EVENTS = 500
SHORTEST_S = 0.25
"""Between two pieces of a stream: at most four a second for each reader, however much happens."""


@router.get(
    "/api/events/",
    response_class=EventSourceResponse,
    responses={200: {"description": "Events until the reader leaves", "content": {"text/event-stream": {}}}},
)
async def events(
    request: Request,
    gateway: OfRequest,
    kinds: Annotated[
        str, Query(max_length=500, description="only these, separated by commas", examples=["fault,lost"])
    ] = "",
    last_event_id: Annotated[str, Header(max_length=200)] = "",
) -> EventSourceResponse:
    """Stream the cluster's events as they happen. `Last-Event-ID` resumes; a line reports missing events."""
    try:
        wanted = kinds_of(kinds, sorted(h.KINDS))
    except ValueError as error:
        raise Problem(
            422,
            "event-kinds",
            N_("there are no events of the kind {names}"),
            field="kinds",
            allowed=N_("{known}"),
            names=str(error),
            known=", ".join(sorted(h.KINDS)),
        ) from error
    return EventSourceResponse(_stream(gateway.live, wanted, last_event_id), ping=PING_S)


async def _stream(live: Live, wanted: frozenset[str], last_id: str) -> AsyncIterator[bytes]:
    with live.news() as news:
        resumed, latest = live.resume(last_id)
        if last_id:
            for piece in _pieces(resumed, wanted):
                yield piece
        while True:
            await news.wait()
            news.clear()
            resumed = live.after(latest)
            for piece in _pieces(resumed, wanted):
                yield piece
            if resumed.events:
                latest = resumed.events[-1].number
            await asyncio.sleep(SHORTEST_S)  # what happens meanwhile comes in one piece


def _pieces(resumed: Resumed, wanted: frozenset[str]) -> Iterator[bytes]:
    """Yield the stream's next bytes: how many events are missing, if some are, and then those wanted.

    A slow reader holds up its own stream after each piece, so few bytes wait for it in memory.
    """
    if resumed.missing:
        gap = json.dumps({"missing": resumed.missing})
        yield f"event: {h.GAP}\r\ndata: {gap}\r\n\r\n".encode()
    events = [each for each in resumed.events if each.kind in wanted]
    for begin in range(0, len(events), PIECE_EVENTS):
        yield b"".join(each.sent for each in events[begin : begin + PIECE_EVENTS])
