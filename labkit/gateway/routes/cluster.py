"""``/api/workers/…``, ``/api/cluster/…`` and ``/api/health/``: the workers, commands, the state of it all."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from labkit.gateway.registry import workers_status
from labkit.gateway.requests import ScaleRequest
from labkit.gateway.routes.common import OfRequest, beside, latest

router = APIRouter(tags=["cluster"])


@router.get("/api/workers/status/", response_model=dict[str, Any])
async def status(gateway: OfRequest) -> JSONResponse:
    """Return the workers as Redis shows them, how old that is, and the broker's own word beside it.

    `redis` is ok, stale or unavailable; the counts are null when it is unavailable.
    """
    picture = await latest(gateway.registry.cached)
    cluster = await latest(gateway.status)
    # A finished answer: FastAPI would first check and copy each value of a dict, for a third of the time.
    return JSONResponse(workers_status(picture, cluster["broker"], time.time()))


@router.post("/api/workers/{worker}/{command}/")
async def command(
    worker: Annotated[
        str, Path(description="a worker's id; also broker or redis", max_length=100, examples=["worker-2"])
    ],
    command: Annotated[
        str, Path(description="kill, pause, resume, stop or start", max_length=20, examples=["pause"])
    ],
    gateway: OfRequest,
) -> dict[str, Any]:
    """Kill, freeze (pause), resume, stop or start a worker. A stop drains and takes up to ten seconds."""
    after = await beside(gateway.command, command, worker)
    process = next(row["state"] for row in after["processes"] if row["name"] == worker)
    says = next((row["status"] for row in after["workers"] if row["name"] == worker), None)
    return {"worker": worker, "command": command, "process": process, "broker_says": says}


@router.post("/api/cluster/scale/")
async def scale(body: ScaleRequest, gateway: OfRequest) -> dict[str, Any]:
    """Have so many workers: the next numbers are started, or the highest drained."""
    return {"workers": await beside(gateway.scale, body.workers)}


@router.get(
    "/api/health/",
    responses={503: {"description": "The broker does not answer", "model": dict[str, Any]}},
)
async def health(gateway: OfRequest, response: Response) -> dict[str, Any]:
    """Return whether the broker answers (200) or not (503), and the state of what stands beside it."""
    cluster = await latest(gateway.status)
    picture = await latest(gateway.registry.cached)
    serves = cluster["broker"] is not None
    response.status_code = 200 if serves else 503
    ready = [row["name"] for row in cluster["workers"] if row["status"] in ("ready", "busy")]
    return {
        "status": "ok" if serves and ready else "degraded" if serves else "down",
        "broker": "ok" if serves else cluster["broker_error"],
        "redis": picture.problem or "ok",
        "workers_ready": len(ready),
        "workers": len(cluster["workers"]),
        # The store notices a lost Redis only when it writes.
        "batches_kept_in": "memory" if picture.error is not None else gateway.store.where,
        "up_s": round(time.time() - gateway.started, 1),
    }
