"""``/api/images/`` and ``/api/process/``: uploads, and one picture filtered in one go."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Response, UploadFile

from labkit.client.futures import TaskFuture
from labkit.core.errors import N_, LabkitError
from labkit.gateway.pictures import checked_upload, chosen, media_type, photo_names
from labkit.gateway.problems import Problem
from labkit.gateway.routes.common import OfRequest, beside
from labkit.imaging.filters import Step, parse_steps
from labkit.jobs import process_encoded

router = APIRouter(tags=["pictures"])

DEFAULT_FILTERS = "sharpen"
MOST_WAIT_S = 60.0

Upload = Annotated[UploadFile, File(description="a PNG, JPEG or WebP picture of at most 25 megapixels")]


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


@router.post("/api/images/", status_code=201)
async def upload(image: Upload, gateway: OfRequest, response: Response) -> dict[str, Any]:
    """Keep a picture for later batches; its id may stand among a batch's `images`."""
    data = await image.read()
    await beside(checked_upload, data, image.filename or "")
    id = await beside(gateway.spool.put, data)
    response.headers["Location"] = "/api/images/"
    return {"id": id, "bytes": len(data), "type": media_type(data)}


@router.post(
    "/api/process/",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture"}},
)
async def process(
    image: Upload,
    gateway: OfRequest,
    filters: Annotated[
        str,
        Form(
            max_length=2000, description="names of filters, separated by commas", examples=["sharpen,edges"]
        ),
    ] = DEFAULT_FILTERS,
    filter_params: Annotated[
        str,
        Form(
            max_length=10_000,
            description="parameters by filter, as JSON",
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
            result = await asyncio.wrap_future(future)
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


def _steps(filters: str, filter_params: str) -> list[Step]:
    names = [name.strip() for name in filters.split(",") if name.strip()]
    try:
        params = json.loads(filter_params) if filter_params.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Problem(
            422,
            "json",
            N_("filter_params is no JSON: {reason}"),
            field="filter_params",
            allowed=N_('parameters by filter, such as {{"sharpen": {{"intensity": 3}}}}'),
            reason=str(error)[:200],
        ) from error
    return parse_steps(names, params)
