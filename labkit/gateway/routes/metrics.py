"""``/api/metrics/`` (JSON) and ``/metrics`` (Prometheus)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from labkit.gateway import metrics as figures
from labkit.gateway.routes.common import OfRequest, beside, latest

router = APIRouter(tags=["cluster"])


@router.get("/api/metrics/")
async def metrics(gateway: OfRequest) -> dict[str, Any]:
    """Return the cluster's figures: tasks, queue, workers by state, waiting and service times."""
    status = await latest(gateway.status)
    return figures.as_json(gateway, status)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus(gateway: OfRequest) -> Response:
    """Return the same figures for Prometheus."""
    text = await beside(lambda: generate_latest(figures.registry_of(gateway)))
    return Response(text, media_type=CONTENT_TYPE_LATEST)
