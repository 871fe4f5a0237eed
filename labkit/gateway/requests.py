"""The bodies that the HTTP side takes, as FastAPI reads and describes them.

Filters and their parameters are checked by ``labkit.gateway.steps``, which names the field, the value and the
range. The types here only say what shape a body has.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from labkit.gateway import steps
from labkit.gateway.pictures import MOST_PICTURES

Filters = Annotated[
    list[Annotated[str, Field(json_schema_extra=steps.NAMES)]],
    Field(
        min_length=1,
        max_length=20,
        description="names of filters, applied in this order",
        examples=[["sharpen", "edges"]],
    ),
]
FilterParams = Annotated[
    dict[str, dict[str, Any]],
    Field(
        description="parameters by filter; what is left out takes its default",
        json_schema_extra=steps.PARAMETERS,
        examples=[{"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}],
    ),
]
EXAMPLE: JsonDict = {
    "filters": ["sharpen", "edges"],
    "filter_params": {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}},
}


class BatchRequest(BaseModel):
    """A batch of pictures and the filters for all of them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    filters: Filters
    filter_params: FilterParams = {}
    count: Annotated[
        int | None,
        Field(ge=1, le=MOST_PICTURES, strict=True, description="how many pictures; default: 5, or all named"),
    ] = None
    images: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None,
        Field(
            min_length=1,
            max_length=MOST_PICTURES,
            description="names of the lab's photos or ids of uploads; default: the lab's photos",
        ),
    ] = None


class CompareRequest(BatchRequest):
    """The same batch for several engines, several times."""

    rounds: Annotated[int, Field(ge=1, le=10, strict=True, description="how often each engine does it")] = 3


class ScaleRequest(BaseModel):
    """How many workers the cluster is to have."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"workers": 4}]})

    workers: Annotated[int, Field(ge=0, le=256, strict=True)]
