"""The course's HTTP calls, word for word with curl, and what stands beside them, against a real cluster."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit.batch import process_encoded_batch
from labkit.executors import open_executor
from labkit.imaging import image_files, photos
from tests.processes.gateway.conftest import Running, Side
from tests.tools.waiting import require, wait_until

DISTRIBUTED = r"""curl -X POST http://localhost:8000/api/process-batch/distributed/ \
     -H "Content-Type: application/json" \
     -d '{"filters": ["sharpen", "edges"], "filter_params": {"sharpen": {"intensity": 3},
          "edges": {"threshold1": 50, "threshold2": 150}}}'"""
MULTIPROCESSING = r"""curl -X POST http://localhost:8000/api/process-batch/multiprocessing/ \
     -H "Content-Type: application/json" \
     -d '{"filters": ["sharpen"], "filter_params": {"sharpen": {"intensity": 2}}}'"""
STATUS = "curl http://localhost:8000/api/workers/status/"
PROCESS = 'curl -X POST -F "image=@photo.jpg" http://localhost:8000/api/process/'


def as_pasted(command: str, side: Side, folder: Path) -> bytes:
    """Return what the course's command prints, with our port in the place of 8000."""
    require(shutil.which("curl") is not None, "curl")
    here = command.replace("localhost:8000", f"localhost:{side.port}")
    ran = subprocess.run(
        f"{here} --silent --noproxy '*'", shell=True, cwd=folder, capture_output=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_distributed_batch_answers_with_its_ids(side: Side, tmp_path: Path) -> None:
    answer = json.loads(as_pasted(DISTRIBUTED, side, tmp_path))
    assert len(answer["task_ids"]) == 5 and answer["filters_used"] == ["sharpen", "edges"]
    assert answer["kept_in"] == "redis"
    where = answer["links"]["batch"]
    wait_until(lambda: side.http.get(where).json()["status"] == "done", 30.0, "the batch")
    done = side.http.get(where).json()
    assert done["processed_count"] == 5 and sum(row["images"] for row in done["workers"]) == 5
    status = side.http.get(f"/api/task/{answer['task_ids'][0]}/status/").json()
    assert (status["status"], status["job"]) == ("done", "labkit.jobs:process_encoded")
    assert status["attempts"][-1]["worker"] == status["worker"]
    picture = side.http.get(status["result"])
    steps = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}
    with open_executor("sequential") as executor:
        first = photos.bundled()[0].bytes()
        (expected,) = process_encoded_batch(executor, [first], ["sharpen", "edges"], steps)
    assert picture.headers["content-type"] == "image/png"
    assert np.array_equal(image_files.decode(picture.content), image_files.decode(expected))


def test_a_batch_on_this_machine_answers_when_it_is_done(side: Side, tmp_path: Path) -> None:
    answer = json.loads(as_pasted(MULTIPROCESSING, side, tmp_path))
    assert (answer["method"], answer["processed_count"], answer["failed"]) == ("multiprocessing", 5, [])
    assert answer["filters_used"] == ["sharpen"]
    assert answer["avg_time_per_image"] == pytest.approx(answer["total_time"] / 5, abs=1e-5)


def test_the_workers_are_shown_as_redis_has_them(side: Side, tmp_path: Path) -> None:
    answer = json.loads(as_pasted(STATUS, side, tmp_path))
    assert [row["id"] for row in answer["workers"]] == ["worker-1", "worker-2"]
    assert (answer["active"], answer["total"], answer["stale"], answer["source"]) == (2, 2, False, "redis")
    for row in answer["workers"]:
        assert {"capabilities", "last_heartbeat", "status", "tasks_completed", "share"} <= set(row)
        assert row["broker_says"] in ("ready", "busy")


def test_one_picture_is_uploaded_and_filtered_in_one_go(side: Side, tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(image_files.encode(image, "jpeg"))
    result = image_files.decode(as_pasted(PROCESS, side, tmp_path))
    assert result.shape == image.shape


@pytest.mark.parametrize("method", ["sequential", "threading"])
def test_the_other_engines_answer_alike(side: Side, method: str) -> None:
    answer = side.post(f"/api/process-batch/{method}", {"filters": ["blur"], "count": 2}).json()
    assert (answer["method"], answer["processed_count"]) == (method, 2), "also without the slash"


def test_waiting_answers_when_the_batch_is_done(side: Side) -> None:
    answer = side.post("/api/process-batch/distributed/?wait=30", {"filters": ["edges"], "count": 4})
    assert answer.status_code == 200 and answer.json()["processed_count"] == 4
    later = side.post("/api/process-batch/distributed/?wait=0", {"filters": ["edges"], "count": 4})
    assert later.status_code in (200, 202) and later.headers["location"].startswith("/api/batch/")


def test_compare_shows_the_engines_side_by_side_with_equal_pixels(side: Side) -> None:
    answer = side.post(
        "/api/process-batch/compare/", {"filters": ["sharpen"], "count": 2, "rounds": 2}
    ).json()
    assert answer["pixels_equal"] is True and answer["rounds"] == 2
    methods = [row["method"] for row in answer["engines"]]
    assert methods == ["sequential", "threading", "multiprocessing", "distributed"]
    assert all(row["fastest"] <= row["total_time"] <= row["slowest"] for row in answer["engines"])


def test_an_upload_may_stand_in_a_batch(side: Side) -> None:
    file = image_files.encode(np.full((20, 30), 7, np.uint8), "png")
    made = side.with_token.post("/api/images/", files={"image": ("../../x.png", io.BytesIO(file))})
    assert made.status_code == 201
    id = made.json()["id"]
    assert id in [row["id"] for row in side.http.get("/api/images/").json()["uploads"]]
    answer = side.post(
        "/api/process-batch/distributed/?wait=30", {"filters": ["blur"], "images": [id, "coffee"]}
    )
    assert answer.json()["processed_count"] == 2


def test_one_bad_picture_does_not_stop_the_others(side: Side) -> None:
    whole = image_files.encode(np.full((300, 300, 3), 9, np.uint8), "png")
    id = side.gateway.spool.put(whole[:-30])
    answer = side.post(
        "/api/process-batch/distributed/?wait=30", {"filters": ["blur"], "images": ["coffee", id]}
    ).json()
    assert (answer["processed_count"], answer["status"]) == (1, "failed")
    assert answer["failed"][0]["image"] == id and "truncated" in answer["failed"][0]["error"]
    assert side.http.get(f"/api/task/{answer['task_ids'][1]}/status/").json()["kind"] == "error"
    assert side.http.get(f"/api/task/{answer['task_ids'][1]}/result/").status_code == 410


def test_a_batch_can_be_cancelled(side: Side) -> None:
    with side.cluster.client() as other:
        busy = [other.submit("labkit.jobs:sleep_for", 1.0) for _ in range(2)]
        answer = side.post("/api/process-batch/distributed/", {"filters": ["blur"], "count": 30}).json()
        ended = side.with_token.delete(answer["links"]["batch"]).json()
        assert ended["cancelled"] >= 25 and ended["status"] in ("cancelled", "running")
        for future in busy:
            future.result(30)


def test_a_worker_is_killed_and_started_and_the_events_say_so(side: Side) -> None:
    with side.http.stream("GET", "/api/events/", params={"kinds": "fault,lost,joined"}) as stream:
        lines = stream.iter_lines()
        killed = side.with_token.post("/api/workers/worker-2/kill/").json()
        assert killed["process"] == "killed"
        assert side.with_token.post("/api/workers/worker-2/kill/").status_code == 409
        seen: list[dict[str, Any]] = []
        while len(seen) < 2:
            line = next(lines)
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
        assert [event["event"] for event in seen] == ["fault", "lost"]
    assert side.with_token.post("/api/workers/worker-2/start/").json()["process"] == "running"
    side.cluster.wait_until_ready()

    def restarts() -> int:
        count: int = side.http.get("/api/metrics/").json()["restarts_by_worker"]["worker-2"]
        return count

    wait_until(lambda: restarts() == 1, 10.0, "its joining in the figures")
    assert 'labkit_restarts_total{worker="worker-2"} 1.0' in side.http.get("/metrics").text


def test_events_resume_where_a_reader_stopped(side: Side) -> None:
    def ids(last: str, count: int) -> list[str]:
        with side.http.stream("GET", "/api/events/", headers={"Last-Event-ID": last}) as stream:
            found: list[str] = []
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    found.append(line.removeprefix("id: "))
                if len(found) == count:
                    return found
        raise AssertionError("the stream ended")

    first = ids("from the beginning", 6)
    assert ids(first[1], 4) == first[2:]


def test_health_names_what_is_wrong(side: Side) -> None:
    assert side.http.get("/api/health/").json()["status"] == "ok"
    side.cluster.pause("broker")
    try:
        wait_until(lambda: side.http.get("/api/health/").status_code == 503, 20.0, "the frozen broker")
        assert side.http.get("/api/health/").json()["status"] == "down"
    finally:
        side.cluster.resume("broker")
    side.cluster.wait_until_ready()
    wait_until(lambda: side.http.get("/api/health/").status_code == 200, 20.0, "the broker again")


def test_batches_survive_a_restart_of_the_gateway(side: Side, tmp_path: Path) -> None:
    first = Running(side.cluster, tmp_path)
    url = f"http://127.0.0.1:{first.port}"
    with side.cluster.client() as other:
        busy = [other.submit("labkit.jobs:sleep_for", 1.5) for _ in range(2)]
        body = {"filters": ["blur"], "count": 3}
        answer = side.post(f"{url}/api/process-batch/distributed/", body).json()
        first.close()
        second = Running(side.cluster, tmp_path)
        try:
            again = f"http://127.0.0.1:{second.port}/api/batch/{answer['batch_id']}/"
            kept = side.http.get(again).json()
            assert kept["task_ids"] == answer["task_ids"] and kept["resubmitted_by_a_new_gateway"] == 3
            wait_until(lambda: side.http.get(again).json()["status"] == "done", 30.0, "the rest")
            task = f"http://127.0.0.1:{second.port}/api/task/{answer['task_ids'][0]}"
            assert side.http.get(f"{task}/status/").json()["status"] == "done"
            assert side.http.get(f"{task}/result/").status_code == 200
        finally:
            second.close()
        for future in busy:
            future.result(30)
