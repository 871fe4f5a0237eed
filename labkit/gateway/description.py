"""Adds to ``/openapi.json`` what FastAPI cannot read from the routes: problems, the token, examples. Pure.

Every call may end in a problem, and all problems have one shape (``labkit.gateway.problems``). FastAPI would
describe its own shape for wrong requests, which this server does not use.
"""

from __future__ import annotations

from typing import Any

from labkit.core.errors import N_
from labkit.gateway.access import BEARER, FREE_ON_LOOPBACK, READING, SHOW_TOKEN
from labkit.gateway.problems import MEDIA_TYPE, TITLES, Problem
from labkit.support.i18n import in_language

SCHEMA = "#/components/schemas/Problem"
TOKEN = "token"
PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Why a request is not answered as asked (RFC 9457), in the language of Accept-Language.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "description": "the kind of problem, for programs",
            "pattern": "^urn:labkit:problem:",
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what is wrong, for people"},
        "instance": {"type": "string", "description": "the path that was asked for"},
        "field": {"type": "string", "description": "the value that it is about"},
        "allowed": {"type": "string", "description": "what that value may be"},
        "next": {"type": "string", "description": "what to do"},
    },
}

EXAMPLES = {
    401: Problem(
        401,
        "token",
        N_("{method} {path} changes something, so it needs the cluster's token"),
        field="Authorization",
        next_step=SHOW_TOKEN,
        headers=BEARER,
        method="POST",
        path="/api/cluster/scale/",
    ),
    422: Problem(
        422,
        "picture-name",
        N_("{name!r} is neither a photo of the lab nor the id of an upload"),
        field="images[0]",
        next_step=N_("GET /api/images/ lists both; pictures are never fetched from an address"),
        name="photo.jpg",
    ),
    429: Problem(
        429,
        "busy",
        N_("{n} requests are under way, which is the most at the same time"),
        next_step=N_("send it again in a second"),
        n=256,
    ),
    503: Problem(
        503,
        "broker-unreachable",
        N_("the broker does not answer"),
        next_step=N_("python -m labkit status shows which process is down"),
    ),
}
"""An example of the problems that a caller meets most often, by status."""
OTHER = Problem(
    404, "http", N_("there is nothing at {path}"), next_step=N_("/docs lists all addresses"), path="/api/x/"
)


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's description with the problems of each call, and the token where it is needed.

    It is in English, like all that programs read.
    """
    with in_language("en"):
        return _completed(schema)


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {TOKEN: {"type": "http", "scheme": "bearer", "description": SHOW_TOKEN}}
    for path, calls in schema["paths"].items():
        for method, call in calls.items():
            needs_token = method.upper() not in READING and not FREE_ON_LOOPBACK.fullmatch(
                path.replace("{", "").replace("}", "")
            )
            if needs_token:
                call["security"] = [{TOKEN: []}]
            _add_problems(call["responses"], needs_token)
    return schema


def _add_problems(answers: dict[str, Any], needs_token: bool) -> None:
    answers.pop("422", None)
    for status, example in EXAMPLES.items():
        if str(status) not in answers and (needs_token or status != 401):
            answers[str(status)] = _answer(TITLES[status], example)
    answers["default"] = _answer("Any other problem", OTHER)


def _answer(description: str, example: Problem) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMA}, "example": example.body()}},
    }
