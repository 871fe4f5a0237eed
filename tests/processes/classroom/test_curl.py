"""The HTTP side of a private cluster, and the calls that day 3's notebook makes there."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.classroom.curl import Curl
from labkit.cluster import Cluster, open_cluster, ports
from labkit.core.errors import BackendMissing
from labkit.imaging.photos import bundled
from labkit.support import i18n
from tests.tools.clusters import gone, marks_of
from tests.tools.command_line import free_ports
from tests.tools.waiting import wait_until


def opened(workers: int, **options: Any) -> Cluster:
    """Return a cluster whose HTTP side has a port that no other test's cluster takes at the same moment."""
    with pytest.MonkeyPatch.context() as patch:
        variable = ports.VARIABLES[ports.API]
        patch.setenv(variable, free_ports()[variable])
        return open_cluster(workers, api=True, **options)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with opened(2) as cluster:
        yield cluster


@pytest.fixture
def curl(cluster: Cluster) -> Curl:
    return Curl(cluster)


def test_workers_are_shown_with_the_command_for_a_terminal(cluster: Cluster, curl: Curl) -> None:
    wait_until(lambda: curl.get("/api/workers/status/")["total"] == 2, 10.0, "both workers in Redis")
    reply = curl.get("/api/workers/status/")
    assert (reply["active"], reply["total"]) == (2, 2)
    shown = repr(reply).splitlines()
    assert shown[:2] == [f"$ curl {cluster.api_url}/api/workers/status/", "HTTP 200"]
    assert [json.loads(line)["id"] for line in shown if line.startswith("  ")] == ["worker-1", "worker-2"]


def test_a_batch_is_accepted_at_once_and_followed(curl: Curl) -> None:
    body = {"filters": ["sharpen"], "filter_params": {"sharpen": {"intensity": 3}}, "count": 2}
    sent = curl.post("/api/process-batch/distributed/", body)
    assert sent.status == "HTTP 202" and len(sent["task_ids"]) == 2
    assert f"-d '{json.dumps(body)}'" in sent.command
    wait_until(lambda: curl.get(sent.batch)["status"] == "done", 20.0, "the batch")


def test_a_picture_comes_back_and_is_shown_beside_the_original(
    curl: Curl, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = next(photo for photo in bundled() if photo.path.suffix == ".jpg")
    reply = curl.picture("/api/process/", photo.path)
    assert reply.status == "HTTP 200 image/jpeg"
    assert reply["x-worker"] in ("worker-1", "worker-2")
    assert "Figure" in capsys.readouterr().out, "outside a notebook, a chart is shown by its name"


def test_a_refusal_is_shown_and_is_no_error(curl: Curl) -> None:
    i18n.set_language("es")
    try:
        reply = curl.post("/api/process-batch/distributed/", {"filters": ["sharpn"]})
    finally:
        i18n.set_language(None)
    assert reply.status == "HTTP 422"
    assert "GET /docs enumera los filtros" in repr(reply)
    assert reply.batch == ""


@pytest.mark.parametrize(
    "reason", [None, BackendMissing("the HTTP side needs the package {name}", name="uvicorn")]
)
def test_without_an_http_side_each_call_is_skipped_with_the_reason(
    reason: BackendMissing | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_cluster(0, redis=False) as cluster:
        cluster.without_api = reason
        assert repr(Curl(cluster).get("/api/workers/status/")) == ""
    shown = capsys.readouterr().out
    assert ("uvicorn" if reason else "it was started without one") in shown


def test_its_dashboard_obeys_the_token_that_the_cluster_gives(cluster: Cluster) -> None:
    url = f"{cluster.api_url}/api/workers/worker-2/pause/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(url, method="POST"))
    token = {"Authorization": f"Bearer {cluster.api_token()}"}
    for command in ("pause", "resume"):
        request = urllib.request.Request(url.replace("pause", command), method="POST", headers=token)
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
    cluster.wait_until_ready()


def test_it_is_started_again_and_ends_with_its_cluster() -> None:
    with opened(1, redis=False) as cluster:
        cluster.wait_for_api()
        cluster.kill("api")
        cluster.start("api")
        cluster.wait_for_api()
        marks = marks_of(cluster)
        assert "api" in marks
    assert gone(marks)
