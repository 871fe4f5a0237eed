"""Builds the HTTP application of one gateway: its routes, its errors, its description, its door."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Depends, FastAPI, Request
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
from labkit.gateway.reasons import json_reason, sentence
from labkit.gateway.routes import batches, cluster, dashboard, events, images, metrics
from labkit.gateway.routes.common import beside, known_parameters
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
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(known_parameters)])
    app.include_router(dashboard.router)
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
    if not _is_form(request) and request.url.path in FORMS:
        return _answer(_no_form(request), request)
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


def _with_head(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers whose ``Allow`` names HEAD beside GET: the guard answers it."""
    found = dict(headers or {})
    allowed = [each.strip() for each in found.get("Allow", "").split(",") if each.strip()]
    if "GET" in allowed and "HEAD" not in allowed:
        found["Allow"] = ", ".join([*allowed, "HEAD"])
    return found


def _no_json(error: dict[str, Any]) -> Problem:
    reason = json_reason(str(error.get("ctx", {}).get("error", "")))
    return Problem(
        422,
        "json",
        N_("the body is no JSON: {reason}, at its character {place}"),
        next_step=N_("/docs describes the request, with an example that works"),
        reason=_(reason),
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


FORMS = ("/api/process/", "/api/images/")
"""Calls that take a form with a file."""


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


def _no_form(request: Request) -> Problem:
    return Problem(
        415,
        "content-type",
        N_("this call takes a form with a file; the Content-Type is {given!r}"),
        field="Content-Type",
        allowed="multipart/form-data",
        next_step=N_("send the picture as a form: curl -F image=@photo.jpg …"),
        given=request.headers.get("content-type", "")[:80],
    )


def _unreadable_body(error: HTTPException) -> str:
    """Return the template for a body that could not be parsed."""
    if isinstance(error.__cause__, RecursionError):
        return N_("the body is nested too deeply")
    if isinstance(error.__cause__, UnicodeDecodeError):
        return N_("the body is no text in UTF-8")
    return N_("the body cannot be read: {detail}")


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in TITLES else 400
    templates = {
        400: _unreadable_body(error),
        404: N_("there is nothing at {path}"),
        405: N_("{path} does not take {method}"),
    }
    problem = Problem(
        status,
        "http",
        templates.get(status, N_("{detail}")),
        next_step=N_("/docs lists all addresses"),
        headers=_with_head(error.headers),
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
