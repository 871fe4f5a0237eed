"""What the dashboard's page asks the server for, without a browser."""

from __future__ import annotations

import json

import pytest

from tests.processes.gateway.conftest import Side
from tests.tools.waiting import wait_until

BATCH = "/api/process-batch/distributed/?wait=60"


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/"])
def test_a_page_is_in_the_language_that_is_asked_for(side: Side, path: str) -> None:
    spanish = side.http.get(path, headers={"Accept-Language": "es-CO, en;q=0.5"})
    assert spanish.status_code == 200 and '<html lang="es">' in spanish.text
    assert "default-src 'self'" in spanish.headers["content-security-policy"]
    english = side.http.get(path, params={"lang": "en"}, headers={"Accept-Language": "es"})
    assert '<html lang="en">' in english.text and english.headers["content-language"] == "en"


def test_every_file_that_a_page_names_is_served(side: Side) -> None:
    for path in ("/", "/docs"):
        for part in side.http.get(path).text.split('"'):
            if part.startswith("/static/"):
                answer = side.http.get(part)
                assert answer.status_code == 200, part
                again = side.http.get(part, headers={"If-None-Match": answer.headers["etag"]})
                assert again.status_code == 304, "a browser keeps its copy"


@pytest.mark.parametrize(
    "path",
    ["/static/../guard.py", "/static/%2e%2e/guard.py", "/static/bokeh/../../../x", "/static/nothing.js"],
)
def test_no_other_file_is_served(side: Side, path: str) -> None:
    answer = side.http.get(path)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_a_picture_before_any_filter_is_served_by_its_name(side: Side) -> None:
    names = side.http.get("/api/images/").json()["photos"]
    answer = side.http.get(f"/api/images/{names[0]}/")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/")
    missing = side.http.get("/api/images/no-such-photo/")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:labkit:problem:picture-name")


def test_the_stream_begins_with_everything_in_its_language(side: Side) -> None:
    with side.http.stream("GET", "/api/dashboard/", params={"lang": "es"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "event: moment"
        moment = json.loads(next(lines).removeprefix("data: "))
    assert moment["full"] and {card["kind"] for card in moment["cards"]} >= {"worker", "broker"}
    assert any("se une" in line[2] for line in moment["log"])


def test_a_task_of_a_batch_has_a_story_and_its_two_pictures(side: Side) -> None:
    batch = side.post(BATCH, {"filters": ["sharpen"], "count": 2}).json()
    task = batch["task_ids"][0]
    address = f"/api/dashboard/task/{task}/"
    wait_until(
        lambda: side.http.get(address).json().get("state") == "done",
        10.0,
        "the task's outcome in the history",
    )
    told = side.http.get(address).json()
    assert told["rows"][0]["text"] == "submitted: process_encoded"
    assert told["result"] == f"/api/task/{task}/result/" and told["image"] in batch["tasks"][0]["image"]
    spanish = side.http.get(address, params={"lang": "es"}).json()
    assert spanish["rows"][0]["text"].startswith("enviada")
    missing = side.http.get("/api/dashboard/task/00000000000000000000000000000000/")
    assert missing.status_code == 404


def test_a_comparison_of_the_engines_is_a_measured_target(side: Side) -> None:
    body = {"filters": ["sharpen"], "count": 1, "rounds": 1}
    assert side.post("/api/process-batch/compare/", body).json()["pixels_equal"]
    with side.http.stream("GET", "/api/dashboard/") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: moment"
        moment = json.loads(next(lines).removeprefix("data: "))
    assert {row[0]: row[3] for row in moment["targets"]}["same_pixels"] is True
