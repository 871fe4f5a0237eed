"""What all routes share: the gateway of a request, and waiting calls beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from labkit.core.errors import N_
from labkit.gateway.gateway import Gateway
from labkit.gateway.problems import Problem
from labkit.gateway.registry import Cached

T = TypeVar("T")


async def _gateway(request: Request) -> Gateway:  # FastAPI would call a plain function in another thread
    gateway: Gateway = request.app.state.gateway
    return gateway


OfRequest = Annotated[Gateway, Depends(_gateway)]
"""A route's parameter of this type receives the gateway."""


async def known_parameters(request: Request) -> None:
    """Raise Problem for a parameter in the address that the call does not have."""
    if not request.query_params:
        return
    known = _parameters(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            raise Problem(
                422,
                "parameter",
                N_("this call has no parameter {name!r} in its address"),
                field=name[:60],
                allowed=N_("{known}") if known else N_("no parameter in the address"),
                next_step=N_("/docs describes the request, with an example that works"),
                name=name[:60],
                known=", ".join(known),
            )


def _parameters(route: APIRoute) -> tuple[str, ...]:
    return tuple(each.alias for each in route.dependant.query_params)


async def beside(function: Callable[..., T], *args: Any) -> T:
    """Return what a call that may wait returns, without holding up the event loop."""
    return await run_in_threadpool(function, *args)


async def latest(cached: Cached[T]) -> T:
    """Return a cached value, looking it up beside the event loop if it is too old."""
    value = cached.fresh()
    return await beside(cached.get) if value is None else value
