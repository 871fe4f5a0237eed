"""The HTTP side as a service of the compose project: the course's commands, the token, a restart."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster import Cluster, api_side
from labkit.cluster.compose import keys
from labkit.imaging import photos
from tests.tools.command_line import ROOT
from tests.tools.docker_rig import ComposeProject
from tests.tools.waiting import require, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

JSON = ("-H", "Content-Type: application/json")


@pytest.fixture
def api(project: ComposeProject, cluster: Cluster) -> str:
    """The address of the HTTP side, which answers."""
    assert cluster.ports["api"] == project.api_port
    cluster.wait_for_api(60.0)
    return f"http://localhost:{project.api_port}/api"


def curl(*words: str) -> Any:
    ran = subprocess.run(["curl", "-sS", "--max-time", "60", *words], capture_output=True, check=False)
    require(ran.returncode != 127, "curl")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_courses_commands_work_as_pasted(api: str, tmp_path: Path) -> None:
    body = json.dumps({"filters": ["sharpen", "edges"], "filter_params": {"sharpen": {"intensity": 3}}})
    batch = curl("-X", "POST", f"{api}/process-batch/distributed/?wait=60", *JSON, "-d", body)
    assert (batch["status"], batch["processed_count"]) == ("done", 5)
    computed = curl("-X", "POST", f"{api}/process-batch/multiprocessing/", *JSON, "-d", body)
    assert computed["processed_count"] == 5
    workers = curl(f"{api}/workers/status/")
    assert [row["id"] for row in workers["workers"]] == ["worker-1", "worker-2", "worker-3"]
    assert not workers["stale"] and workers["active"] == 3
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(photos.bundled()[0].bytes())
    words = ["curl", "-sS", "-X", "POST", "-F", f"image=@{photo}", f"{api}/process/"]
    result = subprocess.run(words, capture_output=True, check=True).stdout
    assert result[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")


def test_a_fault_needs_the_token_and_reaches_the_worker(
    project: ComposeProject, cluster: Cluster, api: str
) -> None:
    refused = curl("-X", "POST", f"{api}/workers/worker-2/kill/")
    assert (refused["status"], refused["field"]) == (401, "Authorization")
    token = cluster.api_token()
    assert token == keys.api_token(project.docker) != keys.lab_token(project.docker)
    bearer = ("-H", f"Authorization: Bearer {token}")
    assert curl("-X", "POST", *bearer, f"{api}/workers/worker-2/kill/")["process"] == "killed"
    assert curl("-X", "POST", *bearer, f"{api}/workers/worker-2/start/")["process"] == "running"
    cluster.wait_until_ready(30.0)
    only_the_host = curl("-X", "POST", *bearer, *JSON, "-d", '{"workers": 4}', f"{api}/cluster/scale/")
    assert (
        only_the_host["status"] == 409 and f"COMPOSE_PROJECT_NAME={project.name} " in only_the_host["detail"]
    )


def test_another_container_needs_the_token(project: ComposeProject, cluster: Cluster, api: str) -> None:
    ask = (
        "import sys, urllib.error, urllib.request as r\n"
        "headers = {'Authorization': 'Bearer ' + sys.argv[1]} if sys.argv[1] else {}\n"
        "try: print(r.urlopen(r.Request('http://api:8000/api/health/', headers=headers)).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    for token, status in (("", "401"), (cluster.api_token(), "200")):
        command = [*project.docker.compose_command(), "exec", "-T", "lab", "python", "-P", "-c", ask, token]
        ran = subprocess.run(command, env=project.environ, capture_output=True, text=True, timeout=60)
        assert ran.stdout.strip() == status, ran.stderr


def test_batches_survive_a_restart_of_its_container(
    project: ComposeProject, cluster: Cluster, api: str
) -> None:
    words = ("-X", "POST", f"{api}/process-batch/distributed/?wait=60", *JSON, "-d", '{"filters": ["blur"]}')
    batch = curl(*words)
    project.type("docker-compose kill api")
    row = next(row for row in cluster.status()["processes"] if row["name"] == "api")
    assert (row["kind"], row["state"]) == ("api", "killed")
    cluster.wait_until_ready(30.0)
    project.type("docker-compose start api")
    cluster.wait_for_api(60.0)
    again = curl(f"{api}/batch/{batch['batch_id']}/")
    assert (again["status"], again["kept_in"]) == ("done", "redis")
    task = again["task_ids"][0]
    result = subprocess.run(["curl", "-sS", f"{api}/task/{task}/result/"], capture_output=True, check=True)
    assert result.stdout.startswith(b"\x89PNG"), "pictures survive too, in a volume"


@pytest.fixture
def without(project: ComposeProject, api: str) -> Iterator[dict[str, str]]:
    """The project without its HTTP side for a while; the environment of a command about it."""
    project.type("docker-compose rm -sf api")
    # Of the ports only this one is asked for: the containers that run have the others.
    asked = {"LABKIT_API_PORT": str(project.api_port), "LABKIT_TAG": project.environ["LABKIT_TAG"]}
    kept = {name: value for name, value in project.environ.items() if not name.startswith("LABKIT_")}
    yield {**kept, **asked, "LABKIT_BACKEND": "compose", "LABKIT_LANG": "en"}
    project.type("docker-compose up -d --no-deps api")


def labkit(environ: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit", *words],
        env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_project_without_it_is_served_from_the_host(
    project: ComposeProject, without: dict[str, str], tmp_path: Path
) -> None:
    serving = labkit({**without, "LABKIT_HOME": str(tmp_path)}, "api", "--port", str(project.api_port))
    try:
        wait_until(lambda: api_side.answers(project.api_port), 30.0, "the HTTP side")
        body = ("-X", "POST", *JSON, "-d", '{"filters": ["blur"]}')
        url = f"http://localhost:{project.api_port}/api/process-batch/distributed/?wait=60"
        assert curl(*body, url)["status"] == "done"
    finally:
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=30)
    assert (serving.returncode, err) == (0, "") and f":{project.api_port}/docs" in out


def test_up_goes_on_without_it_where_its_port_is_taken(
    project: ComposeProject, without: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", project.api_port)):
        command = ["docker-compose", "up", "-d", "--no-deps", "api"]
        halfway = subprocess.run(command, env=project.environ, cwd=ROOT, capture_output=True, check=False)
        assert halfway.returncode != 0
        up = labkit({**without, "LABKIT_HOME": str(tmp_path)}, "up")
        out, err = up.communicate(timeout=120)
    assert up.returncode == 0 and "3 workers" in out, err
    assert err.count("\n") == 1 and "without its HTTP side" in err and str(project.api_port) in err
