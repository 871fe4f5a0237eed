"""``/api/events/``: what happens in the cluster, as server-sent events that a reader can resume."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import encode_event
from labkit.gateway.event_ring import Resumed, kinds_of
from labkit.gateway.live import Live
from labkit.gateway.problems import Problem
from labkit.gateway.routes.common import OfRequest

router = APIRouter(tags=["cluster"])

PING_S = 10


@router.get("/api/events/", response_class=EventSourceResponse)
async def events(
    request: Request,
    gateway: OfRequest,
    kinds: Annotated[
        str, Query(max_length=500, description="only these, separated by commas", examples=["fault,lost"])
    ] = "",
    last_event_id: Annotated[str, Header(max_length=200)] = "",
) -> EventSourceResponse:
    """Stream the cluster's events as they happen. `Last-Event-ID` resumes; what is missing is said."""
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


async def _stream(live: Live, wanted: frozenset[str], last_id: str) -> AsyncIterator[ServerSentEvent]:
    with live.news() as news:
        resumed, latest = live.resume(last_id)
        if last_id:
            for event in _lines(live, resumed, wanted):
                yield event
        while True:
            await news.wait()
            news.clear()
            resumed = live.after(latest)
            for event in _lines(live, resumed, wanted):
                yield event
            if resumed.events:
                latest = resumed.events[-1].number


def _lines(live: Live, resumed: Resumed, wanted: frozenset[str]) -> list[ServerSentEvent]:
    lines = []
    if resumed.missing:
        lines.append(ServerSentEvent(event=h.GAP, data=json.dumps({"missing": resumed.missing})))
    lines += [
        ServerSentEvent(id=live.id_of(each), event=each.event.kind, data=encode_event(each.event))
        for each in resumed.events
        if each.event.kind in wanted
    ]
    return lines
