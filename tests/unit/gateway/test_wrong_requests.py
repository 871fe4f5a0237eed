"""What a caller gets wrong: each problem names the field, what may be there, and the next step."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from labkit.core.errors import ClusterError, ImageError
from labkit.core.peers.task_errors import failure_in_process
from labkit.gateway.access import Access
from labkit.gateway.app import build
from labkit.gateway.batch_record import Row
from labkit.gateway.gateway import Gateway
from labkit.gateway.guard import Guard
from labkit.gateway.pictures import chosen
from labkit.gateway.problems import Problem, of_error
from labkit.gateway.routes import images
from labkit.gateway.spool import Spool
from labkit.imaging.filters import FILTERS
from labkit.imaging.photos import bundled

BATCH = "/api/process-batch/distributed/"
PICTURE = bundled()[0].bytes()
NEXT = "GET /docs lists the filters with their parameters and ranges"


def status_of(*workers: tuple[str, str]) -> dict[str, Any]:
    rows = [{"name": "w", "status": status, "process": process} for status, process in workers]
    return {"workers": rows, "guests": [], "broker": {}}


def made(**parts: Any) -> Any:
    """Return an application whose gateway has only these parts."""
    return build(cast(Gateway, SimpleNamespace(**parts)), Access("s3cret"))


def ask(method: str, path: str, *, app: Any = None, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app or made(spool=None), client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as http:
            return await http.request(method, path, **options)

    return asyncio.run(run())


def batch(filters: list[str], params: Any, **headers: str) -> Any:
    """Return the problem of a batch; the value may be what JSON does not have, such as NaN."""
    body = json.dumps({"filters": filters, "filter_params": params})
    answer = ask("POST", BATCH, content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == 422, answer.text
    return answer.json()


# --- filters and parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "params", "field", "allowed", "shown"),
    [
        (["blur", "gaussian"], {}, "filters[1]", ", ".join(FILTERS), '"gaussian"'),
        (["blur"], {"blr": {}}, "filter_params.blr", ", ".join(FILTERS), '"blr"'),
        (["blur"], {"edges": {}}, "filter_params.edges", "blur", "edges"),
        (["blur"], {"blur": {"raduis": 1}}, "filter_params.blur.raduis", "radius", '"raduis"'),
        (["blur"], {"blur": {"radius": -3}}, "filter_params.blur.radius", "a number from 0 to 100", "-3"),
        (["blur"], {"blur": {"radius": "3"}}, "filter_params.blur.radius", "a number from 0 to 100", '"3"'),
        (["blur"], {"blur": {"radius": True}}, "filter_params.blur.radius", "a number from 0 to 100", "true"),
        (["blur"], {"blur": {"radius": None}}, "filter_params.blur.radius", "a number from 0 to 100", "null"),
        (
            ["blur"],
            {"blur": {"radius": float("nan")}},
            "filter_params.blur.radius",
            "a number from 0 to 100",
            "NaN",
        ),
        (["fit"], {"fit": {"width": 9}}, "filter_params.fit.height", "a whole number from 1 to 16384", ""),
    ],
)
def test_a_wrong_filter_or_parameter_names_its_field_and_range(
    filters: list[str], params: Any, field: str, allowed: str, shown: str
) -> None:
    problem = batch(filters, params)
    assert (problem["field"], problem["allowed"]) == (field, allowed)
    assert shown in problem["detail"] and problem["next"]
    assert "True" not in problem["detail"] and "None" not in problem["detail"]


def test_values_that_are_wrong_together_name_their_filter() -> None:
    problem = batch(["resize"], {})
    assert problem["field"].startswith("filter") and problem["next"] == NEXT


def test_a_wrong_parameter_is_explained_in_spanish() -> None:
    problem = batch(["blur"], {"blur": {"radius": -3}}, **{"Accept-Language": "es"})
    assert problem["allowed"] == "un número de 0 a 100"


def test_the_description_lists_filters_parameters_and_ranges() -> None:
    described = cast(Any, cast(Guard, made()).app).openapi()
    request = described["components"]["schemas"]["BatchRequest"]["properties"]
    assert request["filters"]["items"]["enum"] == list(FILTERS)
    radius = request["filter_params"]["properties"]["blur"]["properties"]["radius"]
    assert radius == {"type": "number", "minimum": 0, "maximum": 100, "default": 2}
    assert request["filter_params"]["properties"]["fit"]["required"] == ["width", "height"]


# --- names, methods, parameters of the address --------------------------------------------------------------


def test_a_picture_is_named_as_it_was_given_and_a_cut_list_shows_it(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        chosen(["http://evil.test/coffee"], None, Spool(tmp_path))
    body = caught.value.body()
    assert "'http://evil.test/coffee'" in body["detail"]
    assert ", …, or an id" in body["allowed"]


def test_an_unknown_method_names_all_that_exist() -> None:
    problem = ask("POST", "/api/process-batch/gpu/", json={"filters": ["blur"]}).json()
    assert problem["status"] == 422 and "'gpu'" in problem["detail"]
    assert problem["allowed"] == "sequential, threading, multiprocessing, distributed, compare"


def test_a_wait_that_is_no_number_is_no_number() -> None:
    problem = ask("POST", f"{BATCH}?wait=nan", json={"filters": ["blur"]}).json()
    assert problem["detail"] == 'wait is "nan", which is no number'


@pytest.mark.parametrize(
    ("path", "field", "allowed"),
    [
        (f"{BATCH}?wiat=5", "wiat", "wait"),
        ("/api/process/?filters=edges", "filters", "no parameter in the address"),
    ],
)
def test_a_parameter_that_a_call_does_not_have_is_refused(path: str, field: str, allowed: str) -> None:
    files = {"image": ("x.png", PICTURE)} if "process/" in path else None
    problem = ask("POST", path, files=files, json=None if files else {"filters": ["blur"]}).json()
    assert (problem["status"], problem["field"], problem["allowed"]) == (422, field, allowed)


# --- HEAD ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/static/page.js", "/api/images/coffee/"])
def test_head_answers_like_get_without_the_body(path: str) -> None:
    get, head = ask("GET", path), ask("HEAD", path)
    assert get.content and not head.content
    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"]


def test_head_of_a_problem_has_no_body_and_of_a_stream_an_end() -> None:
    assert (ask("HEAD", "/nothing").status_code, ask("HEAD", "/nothing").content) == (404, b"")

    async def listen(lang: str) -> Any:
        await asyncio.Event().wait()
        yield lang

    app = made()
    app.app.state.broadcast = SimpleNamespace(listen=listen)
    answer = ask("HEAD", "/api/dashboard/", app=app)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_post_only_address_refuses_head_and_a_get_address_allows_it() -> None:
    assert ask("HEAD", BATCH).status_code == 405
    bearer = {"Authorization": "Bearer s3cret"}
    assert ask("PUT", "/api/health/", headers=bearer).headers["allow"] == "GET, HEAD"


# --- uploads ------------------------------------------------------------------------------------------------


def test_a_list_in_a_form_is_explained() -> None:
    files = {"image": ("x.png", PICTURE)}
    problem = ask("POST", "/api/process/", files=files, data={"filters": '["resize"]'}).json()
    assert problem["field"] == "filters" and problem["next"] == "with curl: -F filters=sharpen,edges"


def test_two_pictures_in_a_form_are_refused() -> None:
    files = [("image", ("a.png", PICTURE)), ("image", ("b.png", PICTURE))]
    problem = ask("POST", "/api/process/", files=files).json()
    assert (problem["status"], problem["field"]) == (422, "image")


def test_json_where_a_form_is_needed_is_the_wrong_type() -> None:
    problem = ask("POST", "/api/process/", json={"filters": "edges"}).json()
    assert (problem["status"], problem["allowed"]) == (415, "multipart/form-data")


def test_a_picture_that_a_worker_cannot_read_is_explained_without_internals() -> None:
    for reason in ("<image> is damaged and cannot be decoded", "<image> stores colours as X"):
        failed = failure_in_process("labkit.jobs:process_encoded", f"ImageError: {reason}", "")
        assert isinstance(failed, ImageError)
        body = of_error(cast(Any, failed)).body()
        assert body["detail"] == reason.replace("<image>", "the picture")
        assert (body["status"], body["field"]) == (422, "image") and body["next"]


def submitted(status: dict[str, Any], answered: Future[bytes]) -> httpx.Response:
    cached = SimpleNamespace(fresh=lambda: status)
    cast(Any, answered).task_id, cast(Any, answered).worker = "ab", "worker-1"
    cast(Any, answered).attempt, cast(Any, answered).compute_s = 1, None
    app = made(client=SimpleNamespace(submit=lambda *_: answered), status=cached)
    return ask("POST", "/api/process/", app=app, files={"image": ("x.png", PICTURE)})


@pytest.mark.parametrize(
    "workers", [(), (("lost", "paused"),), (("busy", "paused"),), (("ready", "killed"),)]
)
def test_without_a_ready_worker_a_picture_is_refused_soon(
    workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LOOK_S", 0.01)
    monkeypatch.setattr(images, "NO_WORKER_S", 0.05)
    future: Future[bytes] = Future()
    answer = submitted(status_of(*workers), future)
    assert answer.status_code == 503 and "scale" in answer.json()["next"]
    assert future.cancelled()


def test_a_ready_worker_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LOOK_S", 0.01)
    monkeypatch.setattr(images, "NO_WORKER_S", 0.02)
    monkeypatch.setattr(images, "MOST_WAIT_S", 0.2)
    future: Future[bytes] = Future()
    answer = submitted(status_of(("busy", "running")), future)
    assert answer.status_code == 504 and future.cancelled()


# --- bodies -------------------------------------------------------------------------------------------------


def test_a_body_that_is_no_json_is_explained_in_spanish_alone() -> None:
    headers = {"Content-Type": "application/json", "Accept-Language": "es"}
    detail = ask("POST", BATCH, content=b'{"filters" ["blur"]}', headers=headers).json()["detail"]
    assert "faltan dos puntos" in detail and "Expecting" not in detail


def test_a_body_that_is_nested_too_deeply_is_named_so() -> None:
    headers = {"Content-Type": "application/json"}
    answer = ask("POST", BATCH, content=b"[" * 100_000, headers=headers)
    assert answer.json()["detail"] == "the body is nested too deeply"


# --- tasks and commands -------------------------------------------------------------------------------------


def test_a_cancelled_task_is_called_so() -> None:
    row = Row("a" * 32, "coffee", "cancelled")
    app = made(batches=SimpleNamespace(row_of=lambda task: row), live=SimpleNamespace(task=lambda task: None))
    status = ask("GET", f"/api/task/{row.task}/status/", app=app).json()
    assert (status["status"], status["kind"]) == ("cancelled", "cancelled")
    assert status["error"] == "cancelled before it was done"
    result = ask("GET", f"/api/task/{row.task}/result/", app=app)
    assert result.status_code == 410
    assert result.json()["detail"] == "the task was cancelled before it was done: it has no result"


def test_an_unknown_worker_lists_workers_and_services_apart() -> None:
    kinds = {"worker-1": "worker", "worker-2": "worker", "broker": "broker", "redis": "redis", "api": "api"}
    processes = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    gateway: Any = SimpleNamespace(cluster=SimpleNamespace(status=lambda: {"processes": processes}))
    with pytest.raises(Problem) as caught:
        Gateway.command(gateway, "kill", "worker-9")
    assert caught.value.body()["allowed"] == "workers: worker-1, worker-2; also broker, redis"


def test_a_scale_that_only_the_host_can_do_names_its_command() -> None:
    def scale(n: int) -> list[str]:
        raise ClusterError("run this outside: {command}", command=f"up --scale worker={n}")

    gateway: Any = SimpleNamespace(cluster=SimpleNamespace(scale=scale))
    with pytest.raises(Problem) as caught:
        Gateway.scale(gateway, 4)
    assert caught.value.status == 409
    assert caught.value.body()["next"] == "in a terminal outside the container: up --scale worker=4"
