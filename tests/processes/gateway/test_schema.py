"""Whatever a caller sends, whether it fits /openapi.json or not: answers as described, no fault of ours."""

from __future__ import annotations

from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from labkit.gateway.access import Access
from labkit.gateway.app import build
from labkit.gateway.gateway import Gateway
from labkit.gateway.guard import Guard
from tests.processes.gateway.conftest import TOKEN, Side

DESCRIPTION: dict[str, Any] = cast(Any, cast(Guard, build(cast(Gateway, None), Access(TOKEN))).app).openapi()
ENDLESS = "/api/events/"
CHANGING = r"/api/(workers/\{|cluster/)"
"""With a token and what fits, these kill workers and start 256 of them."""
EXAMPLES = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

schema = schemathesis.openapi.from_dict(DESCRIPTION)
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schema.exclude(path=ENDLESS).exclude(path_regex=CHANGING).parametrize()
@bounded
def test_any_request_is_answered_as_described(case: Case, side: Side) -> None:
    case.call_and_validate(
        base_url=side.url, headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS, timeout=30
    )


@schema.include(path_regex=CHANGING).parametrize()
@bounded
def test_nothing_changes_without_the_token(case: Case, side: Side) -> None:
    response = case.call(base_url=side.url, headers={"Authorization": "Bearer of-another-cluster"})
    assert response.status_code in (401, 404), response.text
    assert response.headers["content-type"][0] == "application/problem+json"


def bodies() -> list[tuple[str, Any]]:
    """Return each JSON body that the description gives as an example, with its path."""
    found = []
    for path, calls in DESCRIPTION["paths"].items():
        body = calls.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            name = body["schema"]["$ref"].split("/")[-1]
            found += [(path, example) for example in DESCRIPTION["components"]["schemas"][name]["examples"]]
    return found


@pytest.mark.parametrize(("path", "body"), bodies(), ids=str)
def test_the_examples_work_when_pasted(path: str, body: Any, side: Side) -> None:
    if path == "/api/cluster/scale/":
        body = {"workers": 2}  # the cluster of these tests keeps its size
    answer = side.with_token.post(path.format(method="threading"), json=body)
    assert answer.status_code in (200, 202), answer.text


def test_every_call_describes_its_problems() -> None:
    assert len(bodies()) >= 4
    for path, calls in DESCRIPTION["paths"].items():
        for method, call in calls.items():
            answers = call["responses"]
            assert "default" in answers and ("401" in answers) == ("security" in call), (method, path)
    assert "HTTPValidationError" not in str(DESCRIPTION)
