"""A class's daily troubles with docker-compose: names, lost keys, taken ports, a broker made anew."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from labkit import cli, jobs
from labkit.cluster import Cluster
from labkit.cluster.compose.keys import of_host
from labkit.core import history as h
from labkit.core.errors import ClusterError
from tests.tools.command_line import Commands
from tests.tools.docker_rig import ComposeProject
from tests.tools.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

THREE = ["worker-1", "worker-2", "worker-3"]


def ready(cluster: Cluster) -> list[str]:
    return [w.name for w in cluster.workers() if w.process == "running" and w.status in ("ready", "busy")]


def all_are_ready(cluster: Cluster, *names: str) -> None:
    wait_until(lambda: ready(cluster) == [*names], 60.0, f"{names} to be ready")


@pytest.fixture
def lab(
    project: ComposeProject,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Commands:
    """The command line for the project, which docker-compose started: as a renamed one, without a note."""
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", project.name)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.delenv("LABKIT_BACKEND", raising=False)
    return Commands(capsys)


# --- names ---


def test_an_elastic_worker_has_one_name_in_ps_status_redis_and_for_docker_kill(
    project: ComposeProject, cluster: Cluster
) -> None:
    project.type("docker-compose up -d --scale worker=3")
    elastic = [f"{project.name}-worker-{n}" for n in (1, 2, 3)]
    all_are_ready(cluster, *THREE, *elastic)
    listed = project.type("docker-compose ps --format {{.Name}}").split()
    assert set(elastic) <= set(listed) and {f"{project.name}-{name}-1" for name in THREE} <= set(listed)
    shown = {w.name: w.container for w in cluster.workers()}
    assert shown == {
        **{name: f"{project.name}-{name}-1" for name in THREE},
        **{name: name for name in elastic},
    }
    wait_until(
        lambda: set(project.redis_cli("HKEYS workers").split()) == {*THREE, *elastic}, 10.0, "the mirror"
    )
    at = time.monotonic()
    project.type(f"docker kill {elastic[1]}")
    lost = wait_until(
        lambda: [e.worker for e in cluster.history().events if e.kind == h.LOST and e.at >= at],
        10.0,
        "its loss",
    )
    assert lost == [elastic[1]], "worker-2 lives"
    project.type("docker-compose kill worker-2")
    wait_until(lambda: "worker-2" not in ready(cluster), 10.0, "worker-2 to be lost")
    project.type("docker-compose up -d --scale worker=0")
    all_are_ready(cluster, *THREE)


# --- which cluster ---


def test_commands_find_the_project_and_their_hints_name_it(
    project: ComposeProject, cluster: Cluster, lab: Commands
) -> None:
    status = lab.done("status")
    assert "3 of 3 workers ready" in status.out
    killed = lab.done("kill", "worker-3")
    assert "start worker-3 --backend compose" in killed.out and "status --backend compose" in killed.out
    up = lab.done("up")
    assert "2 of 3 workers are ready" in up.out and "start worker-3 --backend compose" in up.out
    assert "submit --filters sharpen,edges --out out --backend compose" in up.out
    lab.done("start", "worker-3")
    all_are_ready(cluster, *THREE)


# --- what is lost ---


@pytest.mark.parametrize("lost", ["worker-2", "lab", "host", "broker"])
def test_a_lost_volume_of_keys_is_filled_again(project: ComposeProject, lost: str) -> None:
    project.type("docker-compose down --timeout 3")
    project.type(f"docker volume rm {project.name}_keys-{lost}")
    project.type("docker-compose up -d")
    with project.connect() as cluster:
        all_are_ready(cluster, *THREE)
        assert cluster.lab_url()
        with cluster.client() as client:
            assert client.submit(jobs.add, 2, 3).result(20) == 5


def test_a_worker_without_its_keys_names_the_command_that_mends_it(project: ComposeProject) -> None:
    project.type("docker-compose rm -sf worker-3 keys")
    project.type(f"docker volume rm {project.name}_keys-worker-3")
    project.type("docker-compose up -d --no-deps worker-3")
    remedy = "docker-compose up -d --no-recreate keys"
    project.wait_for_output("docker-compose logs worker-3", remedy)
    with pytest.raises(ClusterError, match="python -m labkit up --backend compose brings it back"):
        of_host(project.docker)
    project.type(remedy)
    with project.connect() as cluster:
        all_are_ready(cluster, *THREE)


def test_up_brings_back_a_broker_whose_container_was_removed(project: ComposeProject, lab: Commands) -> None:
    project.type(f"docker rm -f {project.name}-broker-1")
    for words in (("status",), ("kill", "worker-1"), ("submit", "--filters", "blur", "--out", "out")):
        assert "up --backend compose brings it back" in lab.refused(*words, code=1)
    lab.done("up")
    with project.connect() as cluster:
        all_are_ready(cluster, *THREE)


def test_up_completes_what_a_taken_port_left_half_made(project: ComposeProject, lab: Commands) -> None:
    project.type("docker-compose rm -sf redis")
    with socket.create_server(("127.0.0.1", project.redis_port)):
        started = subprocess.run(
            ["docker-compose", "up", "-d"], env=project.environ, cwd=Path(cli.__file__).parents[2],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert started.returncode != 0 and "already" in started.stderr
        assert "redis was never started" in lab.done("status").out
        assert "never started" in lab.refused("redis", "PING", code=1), "another program has its port"
        assert "redis was never started; " in lab.refused("kill", "redis", code=1)
        assert "up --backend compose makes it anew" in lab.refused("start", "redis", code=1)
        assert "is whole now, with 3 workers" in lab.done("up").out
        assert lab.done("redis", "PING").out == "PONG\n"
        url = json.loads(lab.done("status", "--json").out)["redis_url"]
        assert not url.endswith(f":{project.redis_port}/0")
    project.type("docker-compose up -d")


def test_open_tasks_follow_a_broker_that_is_made_anew_at_another_port(project: ComposeProject) -> None:
    with project.connect() as cluster, cluster.client() as client:
        all_are_ready(cluster, *THREE)
        former = cluster.address
        usual = project.environ["LABKIT_CLIENT_PORT"]
        project.environ["LABKIT_CLIENT_PORT"] = str(int(project.environ["LABKIT_LAB_PORT"]) + 7)
        futures = [client.submit(jobs.sleep_for, 0.2) for _ in range(20)]
        project.type("docker-compose up -d --no-deps broker")
        assert [future.result(60) for future in futures] == [0.2] * 20
        wait_until(lambda: cluster.status()["address"] != former, 10.0, "the new address")
        assert client.address == cluster.address
        project.environ["LABKIT_CLIENT_PORT"] = usual
        project.type("docker-compose up -d --no-deps broker")
        all_are_ready(cluster, *THREE)


# --- the reader's language ---


@pytest.mark.parametrize(
    ("variables", "asks", "lang"),
    [
        ({"LANG": "en_GB.UTF-8"}, "es", "en"),
        ({"LANG": "es_MX.UTF-8"}, "en", "es"),
        ({"LANG": "en_GB.UTF-8", "LABKIT_LANG": "es"}, "en", "es"),
        ({"LANG": ""}, "es-MX,es;q=0.9", "es"),
        ({"LANG": ""}, "en-GB,en;q=0.9", "en"),
    ],
)
def test_the_course_opens_in_the_readers_language(
    project: ComposeProject, variables: dict[str, str], asks: str, lang: str
) -> None:
    for name in ("LABKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        project.environ[name] = variables.get(name, "")
    project.type("docker-compose up -d --no-deps lab")
    with project.connect() as cluster:
        url = cluster.lab_url()
    assert url is not None

    def opened() -> str:
        try:
            asked = urllib.request.Request(url, headers={"Accept-Language": asks})
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            return str(opener.open(asked, timeout=5).url)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return ""

    assert f"/lab/tree/{lang}/index.ipynb" in wait_until(opened, 60.0, "JupyterLab to answer")
