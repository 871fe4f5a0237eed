"""What all routes share: the gateway of a request, and waiting calls beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from labkit.gateway.gateway import Gateway
from labkit.gateway.registry import Cached

T = TypeVar("T")


async def _gateway(request: Request) -> Gateway:  # FastAPI would call a plain function in another thread
    gateway: Gateway = request.app.state.gateway
    return gateway


OfRequest = Annotated[Gateway, Depends(_gateway)]
"""A route's parameter of this type receives the gateway."""


async def beside(function: Callable[..., T], *args: Any) -> T:
    """Return what a call that may wait returns, without holding up the event loop."""
    return await run_in_threadpool(function, *args)


async def latest(cached: Cached[T]) -> T:
    """Return a cached value, looking it up beside the event loop if it is too old."""
    value = cached.fresh()
    return await beside(cached.get) if value is None else value
