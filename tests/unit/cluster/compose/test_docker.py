"""Docker's complaints become one sentence with the next step, with a stand-in for ``docker``."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from labkit import open_cluster
from labkit.cli import output
from labkit.cluster import ports
from labkit.cluster.compose import start
from labkit.cluster.compose.docker import ATTEMPTS, Docker, DockerTimedOut, explain, run_command
from labkit.core.errors import BackendMissing, ClusterError, PortInUse
from labkit.demo import reference
from labkit.support import i18n
from labkit.support.i18n import translate_error
from tests.tools.command_line import Commands

COMPLAINTS = {
    "no engine": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        BackendMissing,
        "start Docker Desktop, or on Linux: sudo systemctl start docker",
    ),
    "no docker, newer words": (
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct",
        BackendMissing,
        "start Docker Desktop",
    ),
    "no permission": (
        "Got permission denied while trying to connect to the Docker daemon socket at "
        'unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/containers/json": '
        "dial unix /var/run/docker.sock: connect: permission denied",
        BackendMissing,
        "sudo usermod -aG docker $USER",
    ),
    "port taken": (
        "Container labkit-redis-1 Starting\nError response from daemon: driver failed programming external "
        "connectivity on endpoint labkit-redis-1 (85c0): Bind for 127.0.0.1:6379 failed: port is already "
        "allocated",
        PortInUse,
        "port 6379 is taken",
    ),
    "port taken by a program": (
        "Error response from daemon: Ports are not available: exposing port TCP 127.0.0.1:5555 -> 0.0.0.0:0: "
        "listen tcp4 127.0.0.1:5555: bind: address already in use",
        PortInUse,
        "port 5555 is taken",
    ),
    "no network": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup '
        "registry-1.docker.io: no such host",
        ClusterError,
        "images import FILE",
    ),
    "image unknown": (
        "Error response from daemon: pull access denied for labkit-worker, repository does not exist or may "
        "require 'docker login'",
        ClusterError,
        "the image labkit-worker cannot be pulled",
    ),
    "own image removed": (
        "Container labkit-worker-1 Creating\nError response from daemon: No such image: labkit-worker:3f2a",
        ClusterError,
        "the image labkit-worker:3f2a is missing; docker-compose build",
    ),
    "image of a service": (
        ' Image redis:7-alpine Error Get "https://registry-1.docker.io/v2/": dial tcp: no such host\n'
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: no such host',
        ClusterError,
        "the image redis:7-alpine cannot be pulled",
    ),
    "packages": (
        "ERROR: Could not find a version that satisfies the requirement pyzmq==27.3.0 (from versions: none)",
        ClusterError,
        "is this machine online?",
    ),
    "disk": ("write /var/lib/docker/tmp: no space left on device", ClusterError, "docker system df"),
    "anything else": (
        "Container labkit-keys-1 Created \nError response from daemon: the moon is in the wrong phase\n",
        ClusterError,
        "docker compose up failed: Error response from daemon: the moon is in the wrong phase",
    ),
}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_complaint_of_dockers_becomes_one_sentence_with_the_next_step(name: str, language: str) -> None:
    complaint, kind, expected = COMPLAINTS[name]
    error = explain("docker compose up", complaint)
    assert type(error) is kind and expected in str(error)
    i18n.set_language(language)
    assert "\n" not in translate_error(error)


# --- a stand-in for docker, found on the PATH ---


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, except for the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.mark.parametrize(
    "words", [("status",), ("up",), ("demo",), ("down",), ("logs",), ("kill", "worker-1")]
)
def test_without_docker_every_command_prints_where_to_get_it(
    lab: Commands, stand_in: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stand_in.parent)
    result = lab(*words, "--backend", "compose")
    assert result.code == 1
    assert result.err.endswith(
        "Docker is not installed; get it from https://docs.docker.com/get-docker/, or use the local backend, "
        "which needs nothing\n"
    )


def test_without_docker_the_demo_fails_before_it_computes_anything(
    lab: Commands, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stand_in.parent)
    monkeypatch.setattr(reference, "compute", lambda *_: pytest.fail("it has begun"))
    assert lab("demo", "--backend", "compose").out == ""


def test_docker_without_compose_names_the_package(stand_in: Path) -> None:
    install(
        stand_in,
        "docker",
        '[ "$1" = --version ] || { echo "docker: \'compose\' is not a docker command." >&2; exit 1; }',
    )
    with pytest.raises(BackendMissing, match="docker-compose-plugin"):
        Docker("labkit", os.environ).compose_command()


def test_an_old_compose_counts_as_missing(stand_in: Path) -> None:
    install(stand_in, "docker", '[ "$1" = --version ]')
    install(stand_in, "docker-compose", "echo 1.29.2")
    with pytest.raises(BackendMissing, match="Compose 2 or newer"):
        Docker("labkit", os.environ).compose_command()


def test_compose_is_found_under_either_name(stand_in: Path) -> None:
    install(stand_in, "docker-compose", "echo v2.40.1")
    install(stand_in, "docker", "exit 1")
    assert Docker("labkit", os.environ).compose_command()[0] == "docker-compose"
    install(stand_in, "docker", "echo 5.6.1")
    assert Docker("labkit", os.environ).compose_command()[:2] == ["docker", "compose"]


def test_opening_a_cluster_while_docker_is_down_names_docker(stand_in: Path) -> None:
    complaint = COMPLAINTS["no engine"][0]
    install(stand_in, "docker", f'[ "$2" = version ] && echo 5.6.1 || {{ echo "{complaint}" >&2; exit 1; }}')
    with pytest.raises(BackendMissing, match="Docker's engine does not answer"):
        open_cluster(backend="compose")


@pytest.mark.parametrize(("asked", "attempts"), [("", 2), ("23456", 1)])
def test_ports_taken_meanwhile_are_chosen_again_unless_requested(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, asked: str, attempts: int
) -> None:
    for variable in ports.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    if asked:
        monkeypatch.setenv("LABKIT_CLIENT_PORT", asked)
    monkeypatch.setattr(start, "PORT_ATTEMPTS", 2)
    monkeypatch.setattr(ports, "obstacle", lambda _host, _port: None)  # when we look, all are free
    tried = stand_in / "tried"
    install(
        stand_in,
        "docker",
        f"""case "$*" in
        *version*) echo 5.6.1;;
        *" up "*) echo "$LABKIT_CLIENT_PORT" >> {tried}
            echo "Bind for 127.0.0.1:$LABKIT_CLIENT_PORT failed: port is already allocated" >&2; exit 1;;
        *" down "*) echo down >> {tried};;
        esac""",
    )
    with pytest.raises(PortInUse):
        open_cluster(backend="compose")
    lines = tried.read_text(encoding="ascii").splitlines()
    assert lines[1::2] == ["down"] * attempts, "nothing of an attempt is left"
    assert len(lines[::2]) == attempts
    assert not asked or lines[0] == asked


def test_while_docker_is_down_images_are_not_reported_missing(lab: Commands, stand_in: Path) -> None:
    install(stand_in, "docker", f'echo "{COMPLAINTS["no engine"][0]}" >&2; exit 1')
    assert "Docker's engine does not answer" in lab.refused("images", "list", code=1)


def test_redis_with_backend_compose_looks_for_containers(lab: Commands, stand_in: Path) -> None:
    install(stand_in, "docker", "exit 0")  # Docker without any container
    for words in (("--backend", "compose"), ("--backend=compose", "--name", "default")):
        assert "no containers of the project" in lab.refused("redis", *words, "PING", code=1)


def test_the_suggested_command_is_the_one_that_the_user_runs(
    lab: Commands, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    install(stand_in, "docker", "exit 0")  # Docker without any container
    line = lab.refused("status", "--backend", "compose", code=1)
    assert line == output.as_called(
        "no containers of the project 'labkit' are running; python -m labkit up --backend compose starts them"
    )


def test_a_command_that_takes_too_long_raises_an_indefinite_error() -> None:
    with pytest.raises(DockerTimedOut, match="has not ended within 0.1 s") as caught:
        run_command([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.1)
    assert not caught.value.definite


FREEZES_AT = """
n=$(cat {count} 2> /dev/null || echo 0)
echo $((n + 1)) > {count}
[ $n -ge {needs} ] && echo frozen && exit 0
echo 'Error response from daemon: cannot pause container 8e6b: OCI runtime pause failed: {why}: unknown' >&2
exit 1
"""


@pytest.mark.parametrize("why", ["unable to freeze", "timeout of 10s reached"])
def test_an_attempt_of_the_engine_that_ran_out_is_repeated(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setenv("PATH", f"{stand_in}:/bin:/usr/bin")
    count = stand_in / "count"
    install(stand_in, "docker", FREEZES_AT.format(count=count, needs=2, why=why))
    assert Docker("labkit", os.environ).run("pause", "8e6b") == "frozen\n"
    assert count.read_text() == "3\n"


@pytest.mark.parametrize(("why", "attempts"), [("unable to freeze", ATTEMPTS), ("freezer not supported", 1)])
def test_an_engine_that_cannot_freeze_is_not_asked_for_ever(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, why: str, attempts: int
) -> None:
    monkeypatch.setenv("PATH", f"{stand_in}:/bin:/usr/bin")
    count = stand_in / "count"
    install(stand_in, "docker", FREEZES_AT.format(count=count, needs=100, why=why))
    with pytest.raises(ClusterError, match=f"docker pause failed: .*{why}"):
        Docker("labkit", os.environ).run("pause", "8e6b")
    assert count.read_text() == f"{attempts}\n"
