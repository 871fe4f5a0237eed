"""Builds the HTTP application of one gateway: its routes, its errors, its description, its door."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from labkit.core.errors import N_, LabkitError
from labkit.gateway.access import Access
from labkit.gateway.broadcast import Broadcast
from labkit.gateway.description import completed
from labkit.gateway.gateway import Gateway
from labkit.gateway.guard import Guard, Limits
from labkit.gateway.problems import MEDIA_TYPE, TITLES, Problem, of_error
from labkit.gateway.reasons import sentence
from labkit.gateway.routes import batches, cluster, dashboard, events, images, metrics
from labkit.gateway.routes.common import beside
from labkit.support.i18n import _, language

log = logging.getLogger("labkit.gateway")

VERSION = "1"
"""The calls have a version of their own."""

ROUTERS = (cluster.router, batches.router, images.router, events.router, metrics.router)
"""Routes are tried in this order: what is asked most often comes first."""


def build(gateway: Gateway, access: Access, limits: Limits | None = None) -> ASGIApp:
    """Return the application; ``access`` says who may do what."""
    app = FastAPI(
        title="labkit",
        version=VERSION,
        description="The HTTP side of a labkit cluster.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    app.state.broadcast = Broadcast(gateway, beside)
    for router in (*ROUTERS, dashboard.router):
        app.include_router(router)
    described = app.openapi
    app.openapi = lambda: app.openapi_schema or completed(described())  # type: ignore[method-assign]
    dashboard.mount_files(app)
    app.add_exception_handler(LabkitError, _labkit_error)
    app.add_exception_handler(RequestValidationError, _wrong_body)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _our_fault)
    return Guard(app, access, limits or Limits())


def _answer(problem: Problem, request: Request) -> JSONResponse:
    headers = {**problem.headers, "Content-Language": language()}
    body = problem.body(request.url.path)
    return JSONResponse(body, problem.status, headers=headers, media_type=MEDIA_TYPE)


async def _labkit_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LabkitError)
    problem = of_error(error)
    if problem.status == 500:
        log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return _answer(problem, request)


async def _wrong_body(request: Request, error: Exception) -> JSONResponse:
    """Name the first field that is wrong, what is there and what may be."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    place = first.get("loc", ())
    if first.get("type") == "json_invalid":
        return _answer(_no_json(first), request)
    if place == ("body",) and "json" not in request.headers.get("content-type", ""):
        return _answer(_no_json_type(request), request)
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:]).lstrip(".")
    (template, allowed), params = sentence(first)
    problem = Problem(
        422,
        "body" if place[:1] == ("body",) else "parameter",
        template,
        field=field,
        allowed=allowed,
        next_step=N_("/docs describes the request, with an example that works"),
        **params,
    )
    problem.params["field"] = field or _("the body")
    return _answer(problem, request)


def _no_json(error: dict[str, Any]) -> Problem:
    return Problem(
        422,
        "json",
        N_("the body is no JSON: {reason} at its character {place}"),
        next_step=N_("/docs describes the request, with an example that works"),
        reason=str(error.get("ctx", {}).get("error", "")),
        place=error["loc"][-1],
    )


def _no_json_type(request: Request) -> Problem:
    return Problem(
        415,
        "content-type",
        N_("the body is not called JSON; its Content-Type is {given!r}"),
        field="Content-Type",
        allowed="application/json",
        next_step=N_('send the header: curl -H "Content-Type: application/json" …'),
        given=request.headers.get("content-type", "")[:80],
    )


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in TITLES else 400
    templates = {
        400: N_("the body cannot be read: {detail}"),
        404: N_("there is nothing at {path}"),
        405: N_("{path} does not take {method}"),
    }
    problem = Problem(
        status,
        "http",
        templates.get(status, N_("{detail}")),
        next_step=N_("/docs lists all addresses"),
        headers=error.headers,
        path=request.url.path[:200],
        method=request.method,
        detail=str(error.detail),
    )
    return _answer(problem, request)


async def _our_fault(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    problem = Problem(
        500,
        "labkit",
        N_("the server failed at this request: {kind}"),
        next_step=N_("python -m labkit logs api shows what happened; please report it"),
        kind=type(error).__name__,
    )
    return _answer(problem, request)
