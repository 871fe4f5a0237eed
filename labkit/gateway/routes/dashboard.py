"""``/`` and ``/docs``: the two pages, their files, and the stream that the dashboard lives from.

Nothing comes from another machine: BokehJS and Swagger UI are files of their pip packages. The pages hold no
inline script, so that the guard's Content-Security-Policy can forbid those.
"""

from __future__ import annotations

import importlib.util
import json
import re
from functools import lru_cache
from html import escape
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sse_starlette import EventSourceResponse
from starlette.staticfiles import StaticFiles

from labkit.cluster.status_text import COMMANDS, TONES
from labkit.core.errors import N_
from labkit.gateway.problems import Problem
from labkit.gateway.routes.common import OfRequest
from labkit.gateway.words import words
from labkit.imaging.filters import FILTERS
from labkit.support.i18n import in_language, language
from labkit.support.palette import FAULT

router = APIRouter(include_in_schema=False)

PING_S = 10
OURS = FilePath(__file__).parents[1] / "static"
FROM_PACKAGES = {"bokeh": ("bokeh", "server/static/js"), "swagger": ("fastapi_offline", "static")}
"""Folders of files below ``/static``: the package, and the folder in it."""
Language = Annotated[Literal["en", "es"] | None, Query(description="instead of Accept-Language")]


class Files(StaticFiles):
    """Files of the pages. A browser asks each time whether its copy is still the present one."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file, or 304 for a copy that is up to date."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_files(app: FastAPI) -> None:
    """Serve the files of the pages. A package that is not installed is left out; its files are missing."""
    for name, (package, folder) in FROM_PACKAGES.items():
        found = importlib.util.find_spec(package)  # the package itself is not imported
        if found is not None and found.submodule_search_locations:
            place = FilePath(found.submodule_search_locations[0]) / folder
            app.mount(f"/static/{name}", Files(directory=place), name=name)
    app.mount("/static", Files(directory=OURS), name="static")


@router.get("/")
async def page(lang: Language = None) -> HTMLResponse:
    """Return the dashboard in the reader's language. It holds nothing of the cluster."""
    return _page("dashboard.html", lang)


@router.get("/docs")
@router.get("/docs/")
async def docs(lang: Language = None) -> HTMLResponse:
    """Return the page on which each call can be tried out."""
    return _page("docs.html", lang)


@router.get("/api/dashboard/")
async def stream(request: Request, lang: Language = None) -> EventSourceResponse:
    """Stream the dashboard's moments, four a second at most."""
    return EventSourceResponse(
        request.app.state.broadcast.listen(lang or language()),
        ping=PING_S,
        headers={"Content-Language": lang or language()},
    )


@router.get("/api/dashboard/task/{task_id}/")
async def task_story(
    task_id: Annotated[str, Path(max_length=64)], gateway: OfRequest, lang: Language = None
) -> dict[str, Any]:
    """Return the story of a task in the reader's language."""
    with in_language(lang or language()):
        row = gateway.batches.row_of(task_id)
        told = gateway.live.story(row.id if row is not None else task_id)
        if told is None:
            raise Problem(
                404, "no-task", N_("there is no task {id}, or it was too long ago"), id=task_id[:40]
            )
        if row is not None and row.outcome == "done":
            told["image"], told["result"] = row.image, f"/api/task/{task_id}/result/"
        return told


def _page(name: str, lang: str | None) -> HTMLResponse:
    chosen = lang or language()
    html = _rendered(name, chosen)
    return HTMLResponse(html, headers={"Content-Language": chosen, "Cache-Control": "no-cache"})


@lru_cache(16)
def _rendered(name: str, lang: str) -> str:
    """Return a page with its words: ``{{name}}`` stands for each."""
    with in_language(lang):
        known = {
            **words(),
            "lang": lang,
            "other_lang": "es" if lang == "en" else "en",
        }
        data = {
            "lang": lang,
            "words": words(),
            "commands": {key: [command.word, command.meaning("{name}")] for key, command in COMMANDS.items()},
            "tones": {key: [tone.on_light, tone.on_dark] for key, tone in TONES.items()},
            "fault": FAULT,
            "filters": [
                [
                    each.name,
                    [[p.name, p.low, p.high, p.default, p.whole, p.optional] for p in each.parameters],
                ]
                for each in FILTERS.values()
            ],
        }
    known = {key: escape(value) for key, value in known.items()}
    # "<" is written as an escape of JSON, so that no word of the data can end its element.
    known["data"] = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    html = (OURS / name).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], html)
