"""``/api/images/`` and ``/api/process/``: uploads, and one picture filtered in one go."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Path, Request, Response, UploadFile

from labkit.client.futures import TaskFuture
from labkit.core.errors import N_, LabkitError
from labkit.gateway.gateway import Gateway
from labkit.gateway.pictures import checked_upload, chosen, media_type, photo_names
from labkit.gateway.problems import Problem
from labkit.gateway.reasons import json_reason
from labkit.gateway.routes.common import OfRequest, beside, latest
from labkit.gateway.steps import steps_of, table
from labkit.imaging.filters import FILTERS, Step
from labkit.jobs import process_encoded
from labkit.support.i18n import _

router = APIRouter(tags=["pictures"])

DEFAULT_FILTERS = "sharpen"
MOST_WAIT_S = 60.0
NO_WORKER_S = 5.0
"""A picture waits so long while no worker is ready: a worker that restarts is back by then."""
LOOK_S = 0.5
"""Between two looks at the workers."""

Upload = Annotated[UploadFile, File(description="a PNG, JPEG or WebP picture of at most 25 megapixels")]


async def _one_picture(request: Request) -> None:
    """Raise Problem if a form has several pictures: only one of them would be taken."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return
    form = await request.form()
    if (count := len(form.getlist("image"))) > 1:
        raise Problem(
            422,
            "several-pictures",
            N_("the form has {count} pictures called image; this call takes one"),
            field="image",
            allowed=N_("one file"),
            next_step=N_("send each with a request of its own, or several as a batch: see /docs"),
            count=count,
        )


@router.get("/api/images/")
async def images(gateway: OfRequest) -> dict[str, Any]:
    """List what a batch may name: the lab's own photos, and the uploads that are kept."""
    return {
        "photos": await beside(photo_names),
        "uploads": [
            {"id": stored.id, "bytes": stored.bytes, "uploaded_at": round(stored.at, 3)}
            for stored in await beside(gateway.spool.listed)
            if gateway.batches.row_of(stored.id) is None
        ],
    }


@router.get("/api/images/{name}/", response_class=Response, responses={200: {"content": {"image/*": {}}}})
async def image(
    name: Annotated[str, Path(description="a photo's name or an upload's id", max_length=200)],
    gateway: OfRequest,
) -> Response:
    """Return a picture as it was before any filter: a photo of the lab, or an upload."""
    try:
        (picture,) = await beside(chosen, [name], 1, gateway.spool)
    except Problem as problem:
        problem.status, problem.field = 404, ""  # the name is the address here, and no field of a body
        raise
    return Response(picture.data, media_type=media_type(picture.data))


@router.post("/api/images/", status_code=201, dependencies=[Depends(_one_picture)])
async def upload(image: Upload, gateway: OfRequest, response: Response) -> dict[str, Any]:
    """Keep a picture for later batches; its id may stand among a batch's `images`."""
    data = await image.read()
    await beside(checked_upload, data, image.filename or "")
    id = await beside(gateway.spool.put, data)
    response.headers["Location"] = "/api/images/"
    return {"id": id, "bytes": len(data), "type": media_type(data)}


@router.post(
    "/api/process/",
    dependencies=[Depends(_one_picture)],
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture"}},
)
async def process(
    image: Upload,
    gateway: OfRequest,
    filters: Annotated[
        str,
        Form(
            max_length=2000,
            description="names of filters, separated by commas, of these: " + ", ".join(FILTERS),
            examples=["sharpen,edges"],
        ),
    ] = DEFAULT_FILTERS,
    filter_params: Annotated[
        str,
        Form(
            max_length=10_000,
            description="parameters by filter, as JSON; parameters and ranges: " + table(),
            examples=['{"sharpen": {"intensity": 3}}'],
        ),
    ] = "",
) -> Response:
    """Upload a picture, have a worker filter it, and answer with the result."""
    data = await image.read()
    steps = _steps(filters, filter_params)
    format = "jpeg" if media_type(data) == "image/jpeg" else "png"

    def submit() -> TaskFuture:
        checked_upload(data, image.filename or "")
        return gateway.client.submit(process_encoded, data, steps, format)

    future = await beside(submit)
    try:
        async with asyncio.timeout(MOST_WAIT_S):
            result = await _result(gateway, future)
    except TimeoutError as error:
        if isinstance(error, LabkitError):
            raise
        raise Problem(
            504,
            "no-answer-in-time",
            N_("no worker has done it within {seconds:.0f} s"),
            next_step=N_("GET /api/workers/status/ shows whether workers are there"),
            seconds=MOST_WAIT_S,
        ) from error
    headers = {
        "X-Task-Id": future.task_id,
        "X-Worker": future.worker or "",
        "X-Attempt": str(future.attempt),
        "X-Compute-Seconds": "" if future.compute_s is None else f"{future.compute_s:.6f}",
        "Content-Disposition": f'inline; filename="result.{format}"',
    }
    return Response(result, media_type=f"image/{format}", headers=headers)


async def _result(gateway: Gateway, future: TaskFuture) -> bytes:
    """Return the task's result. Cancels it and raises Problem if no worker is ready for ``NO_WORKER_S``."""
    waiting: asyncio.Future[bytes] = asyncio.wrap_future(future)
    since: float | None = None
    try:
        while True:
            done, _open = await asyncio.wait([waiting], timeout=LOOK_S)
            if done:
                return waiting.result()
            if await _has_ready_worker(gateway):
                since = None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since < NO_WORKER_S:
                continue
            raise Problem(
                503,
                "no-worker",
                N_("no worker is ready; after {seconds:.0f} s this picture waits no longer"),
                next_step=N_(
                    "start or resume a worker: python -m labkit scale 2 or python -m labkit resume worker-1. "
                    "GET /api/workers/status/ shows them"
                ),
                headers={"Retry-After": "5"},
                seconds=NO_WORKER_S,
            )
    finally:
        waiting.cancel()  # of a task whose caller waits no longer


async def _has_ready_worker(gateway: Gateway) -> bool:
    """Return whether a worker can compute; True while the broker does not answer, as it may return."""
    status = await latest(gateway.status)
    if status["broker"] is None:
        return True
    return any(
        row["status"] in ("ready", "busy") and row["process"] in ("running", "elsewhere")
        for row in (*status["workers"], *status["guests"])
    )


def _steps(filters: str, filter_params: str) -> list[Step]:
    if filters.lstrip().startswith(("[", '"')):
        raise Problem(
            422,
            "filter",
            N_("filters is {given}, which is JSON; here it is a text"),
            field="filters",
            allowed=N_("names separated by commas, of these: {known}"),
            next_step=N_("with curl: -F filters=sharpen,edges"),
            given=filters[:60],
            known=", ".join(FILTERS),
        )
    names = [name.strip() for name in filters.split(",") if name.strip()]
    try:
        params = json.loads(filter_params) if filter_params.strip() else {}
    except (ValueError, RecursionError) as error:
        reason = N_("it is nested too deeply")
        if isinstance(error, json.JSONDecodeError):
            reason = json_reason(error.msg)
        raise Problem(
            422,
            "json",
            N_("filter_params is no JSON: {reason}"),
            field="filter_params",
            allowed=N_('parameters by filter, such as {{"sharpen": {{"intensity": 3}}}}'),
            reason=_(reason),
        ) from error
    return steps_of(names, params, as_text=True)
