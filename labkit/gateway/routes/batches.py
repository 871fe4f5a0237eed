"""``/api/process-batch/…``, ``/api/batch/…`` and ``/api/task/…``: batches of pictures and their tasks."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from labkit.core.errors import N_
from labkit.gateway import engines
from labkit.gateway.batch_record import OPEN, WAS_CANCELLED
from labkit.gateway.gateway import Gateway
from labkit.gateway.pictures import Picture, chosen
from labkit.gateway.problems import Problem
from labkit.gateway.promises import Compared
from labkit.gateway.requests import BatchRequest, CompareRequest
from labkit.gateway.routes.common import OfRequest, beside
from labkit.gateway.steps import steps_of
from labkit.gateway.task_book import CANCELLED
from labkit.imaging.filters import Step

router = APIRouter(tags=["pictures"])

MOST_WAIT_S = 300.0
ENGINES = ("sequential", "threading", "multiprocessing")
"""The engines of the gateway's own machine."""
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
TaskId = Annotated[str, Path(description="a task's id, 32 hex digits", max_length=64)]
BatchId = Annotated[str, Path(description="a batch's id, 32 hex digits", max_length=64)]


def _read(body: BatchRequest, gateway: Gateway) -> tuple[list[Picture], list[Step]]:
    steps = steps_of(body.filters, body.filter_params)
    return chosen(body.images, body.count, gateway.spool), steps


@router.post(
    "/api/process-batch/distributed/",
    status_code=202,
    responses={200: {"description": "The batch is done", "model": dict[str, Any]}},
)
async def distributed(
    body: BatchRequest,
    gateway: OfRequest,
    response: Response,
    wait: Annotated[
        float | None,
        Query(ge=0, le=MOST_WAIT_S, allow_inf_nan=False, description="seconds to wait", examples=[30]),
    ] = None,
) -> dict[str, Any]:
    """Send a batch to the cluster's workers.

    Answers 202 at once, with the ids and where to look; with `?wait=SECONDS` it answers 200 when the batch is
    done, or 202 when the time is up.
    """
    pictures, steps = await beside(_read, body, gateway)
    record = await beside(gateway.batches.submit, pictures, steps)
    if wait is not None:
        over = asyncio.wrap_future(gateway.batches.over(record))
        done, _open = await asyncio.wait([over], timeout=wait)
        if done:
            response.status_code = 200
    response.headers["Location"] = f"/api/batch/{record.id}/"
    return gateway.batches.answer(record)


@router.post("/api/process-batch/compare/")
@router.post("/api/process-batch/compare-all/", include_in_schema=False)
async def compare(body: CompareRequest, gateway: OfRequest) -> dict[str, Any]:
    """Compute one batch on every engine, several times in turn, and show the times side by side."""

    def run() -> dict[str, Any]:
        pictures, steps = _read(body, gateway)
        with gateway.slots.taken():
            answer = engines.compare(pictures, steps, body.rounds, gateway.executor)
        gateway.compared = Compared(answer["images"], answer["pixels_equal"])
        return answer

    return await beside(run)


async def _engine(
    method: Annotated[str, Path(max_length=40, json_schema_extra={"enum": list(ENGINES)})],
) -> str:
    if method not in ENGINES:
        raise Problem(
            422,
            "method",
            N_("there is no method {method!r}"),
            field="method",
            allowed=N_("{known}"),
            next_step=N_("POST /api/process-batch/distributed/ sends the batch to the cluster's workers"),
            method=method,
            known=", ".join([*ENGINES, "distributed", "compare"]),
        )
    return method


@router.post("/api/process-batch/{method}/")
async def local(
    method: Annotated[str, Depends(_engine)], body: BatchRequest, gateway: OfRequest
) -> dict[str, Any]:
    """Compute a batch on the gateway's own machine, with one of the engines of days 1 and 2."""

    def run() -> dict[str, Any]:
        pictures, steps = _read(body, gateway)
        with gateway.slots.taken():
            return engines.local(method, pictures, steps).as_json(method, body.filters)

    return await beside(run)


@router.get("/api/batch/")
async def batches(gateway: OfRequest) -> dict[str, Any]:
    """List the batches that are kept, the latest first, without their tasks."""
    answers = [gateway.batches.answer(record) for record in gateway.batches.latest()]
    return {
        "batches": [
            {name: answer[name] for name in ("batch_id", "status", "processed_count", "image_count")}
            for answer in answers
        ]
    }


@router.get("/api/batch/{batch_id}/")
async def batch(batch_id: BatchId, gateway: OfRequest) -> dict[str, Any]:
    """Return a batch: how far it is, its tasks, the workers' shares, what was done again."""
    return gateway.batches.answer(gateway.batches.find(batch_id))


@router.delete("/api/batch/{batch_id}/")
async def cancel(batch_id: BatchId, gateway: OfRequest) -> dict[str, Any]:
    """Cancel what has not started. What runs already goes on; its result is kept."""
    record = gateway.batches.find(batch_id)
    cancelled = await beside(gateway.batches.cancel, record)
    return {"cancelled": cancelled, **gateway.batches.answer(record)}


@router.get("/api/task/{task_id}/status/")
async def task_status(task_id: TaskId, gateway: OfRequest) -> dict[str, Any]:
    """Return where a task is: queued; in flight with worker and attempt; done; failed with its kind."""
    row = gateway.batches.row_of(task_id)
    known = gateway.live.task(row.id if row is not None else task_id)
    if known is None and row is None:
        raise Problem(
            404,
            "no-task",
            N_("there is no task {id}, or it was too long ago"),
            next_step=N_("GET /api/batch/ lists the batches, each with the ids of its tasks"),
            id=task_id[:40],
        )
    answer: dict[str, Any] = {"task_id": task_id, **(known or {"status": "queued", "attempts": []})}
    if row is not None:
        answer["image"] = row.image
        if row.present:
            answer["submitted_again_as"] = row.present
        if row.outcome:  # the gateway's own word is the later one: it has the result, or the error's text
            answer["status"] = row.outcome
            answer["kind"], answer["error"] = row.kind or None, row.error or None
            if row.outcome == CANCELLED:
                answer["kind"], answer["error"] = row.kind or CANCELLED, row.error or WAS_CANCELLED
            answer["worker"], answer["attempt"] = row.worker or None, row.attempts or None
        if row.outcome == "done":
            answer["result"] = f"/api/task/{task_id}/result/"
    return answer


@router.get(
    "/api/task/{task_id}/result/", response_class=Response, responses={200: {"content": {"image/png": {}}}}
)
async def task_result(task_id: TaskId, gateway: OfRequest) -> Response:
    """Return the picture that a task has made, as PNG."""
    row = gateway.batches.row_of(task_id)
    if row is not None and row.outcome != "done":
        template = {
            OPEN: N_("the task is not done"),
            CANCELLED: N_("the task was cancelled before it was done: it has no result"),
        }.get(row.outcome, N_("the task failed: {error}"))
        raise Problem(
            409 if row.outcome == OPEN else 410,
            "no-result",
            template,
            next_step=N_("GET /api/task/<id>/status/ shows where it is")
            if row.outcome == OPEN
            else N_("send the picture again in a new batch"),
            error=row.error,
        )
    return Response(await beside(gateway.spool.get, row.task if row else task_id), media_type="image/png")
