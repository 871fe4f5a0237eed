"""The compose file is valid and restrictive, the images are small, and both work without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.compose import images
from labkit.cluster.compose.docker import COMPOSE_FILE, Docker
from tests.tools.command_line import ROOT, Commands
from tests.tools.docker_rig import built, require_docker

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

MOST_MB = {"labkit-broker": 80, "labkit-worker": 320, "labkit-lab": 900}
"""The limit of each image's size, without the base image."""


@pytest.fixture(scope="module", autouse=True)
def _docker() -> None:
    require_docker()


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    command = ["docker-compose", "-f", str(COMPOSE_FILE), "config", "--format", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    described: dict[str, dict[str, Any]] = json.loads(ran.stdout)["services"]
    return described


# --- the file ---


def test_compose_accepts_the_file() -> None:
    ran = subprocess.run(["docker-compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def checked_by_the_schema(file: Path) -> subprocess.CompletedProcess[str]:
    """Return the run of a check of this compose file by the compose specification's own schema."""
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)


def test_the_compose_specs_schema_accepts_the_file() -> None:
    for file in (COMPOSE_FILE, COMPOSE_FILE.parent / "docker" / "services.yml"):
        ran = checked_by_the_schema(file)
        assert ran.returncode == 0, ran.stdout


def test_the_schema_refuses_a_wrong_file(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE_FILE.read_text("utf-8").replace("pids_limit", "pids_limits"), encoding="utf-8")
    assert checked_by_the_schema(wrong).returncode == 1


def test_the_file_is_read_in_one_sitting() -> None:
    """It says who there is and who talks to whom; the rest is in docker/services.yml."""
    assert len(COMPOSE_FILE.read_text("utf-8").splitlines()) <= 90


def test_each_service_says_whom_it_waits_for_and_which_networks_it_is_in(
    services: dict[str, dict[str, Any]],
) -> None:
    clients = {name for name, service in services.items() if "broker" in service.get("depends_on", {})}
    assert clients == {"worker", "worker-1", "worker-2", "worker-3", "api", "lab"}
    assert {name for name, service in services.items() if "lab" in (service.get("networks") or {})} == {
        "broker",
        "redis",
        "api",
        "lab",
    }


def test_every_service_has_limits_and_minimal_rights(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert service["read_only"] and service["init"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0 and service["pids_limit"] > 0, name
        assert service["restart"] == ("no" if name == "keys" else "unless-stopped")
        assert name == "keys" or service["healthcheck"]["test"], name
        assert "privileged" not in service and "pid" not in service
        for volume in service.get("volumes", ()):
            assert volume["type"] == "volume", f"{name} mounts a folder of the host: {volume}"


def test_ports_are_published_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    published = {
        (port["host_ip"], port["published"])
        for service in services.values()
        for port in service.get("ports", ())
    }
    assert published == {("127.0.0.1", port) for port in ("5555", "5557", "6379", "8000", "8888")}


def test_a_worker_has_only_its_own_key_and_the_internal_network(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in ("worker", "worker-1", "worker-2", "worker-3"):
        assert list(services[name]["networks"]) == ["work"]
        keys = [v["source"] for v in services[name]["volumes"] if v["target"] == "/keys"]
        assert keys == [f"keys-{name}"]


def test_only_lab_and_api_mount_the_control_sockets_of_others(services: dict[str, dict[str, Any]]) -> None:
    """An agent obeys every client of its socket, and a worker runs learners' code."""
    reaches = {
        name: sorted(v["source"] for v in service.get("volumes", ()) if v["target"].startswith("/control"))
        for name, service in services.items()
    }
    own = ("broker", "worker", "worker-1", "worker-2", "worker-3")
    assert {name: volumes for name, volumes in reaches.items() if volumes} == {
        **{name: [f"control-{name}"] for name in own},
        **{name: sorted(f"control-{name}" for name in own) for name in ("lab", "api")},
    }


# --- the images ---


def test_the_images_are_small_and_run_without_root(lab: Commands) -> None:
    built()
    docker = Docker("labkit", os.environ)
    sizes = images.sizes(docker)
    base = int(docker.run("image", "inspect", "--format", "{{.Size}}", "python:3.11-slim"))
    for image, most in MOST_MB.items():
        own = (sizes[image] - base) // 10**6
        print(f"{image}: {sizes[image] // 10**6} MB, of which {own} MB are not the base image's")
        assert own <= most, image
        assert docker.run("image", "inspect", "--format", "{{.Config.User}}", image).strip() == "lab"
    listed = lab.done("images", "list").out
    assert len(re.findall(r"MB +up to date$", listed, re.MULTILINE)) == 4
    assert re.search(r"labkit-worker +\d+ MB", listed)


def test_a_worker_has_no_jupyter_and_a_broker_no_opencv() -> None:
    built()
    for image, absent in (
        ("labkit-worker", "jupyterlab"),
        ("labkit-broker", "cv2"),
        ("labkit-broker", "numpy"),
    ):
        there = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({absent!r}) is not None)"
        command = ["docker", "run", "--rm", "--network", "none", image, "python", "-c", there]
        assert subprocess.run(command).returncode == 0, f"{image} has {absent}"


def test_images_are_built_once_for_the_same_sources(lab: Commands) -> None:
    built()
    assert lab.done("images", "build").out == "The images are up to date.\n"


def test_exported_images_can_be_imported_where_there_are_none(
    lab: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built()
    # One small image stands for all: the test is about export and import.
    monkeypatch.setattr(images, "FETCHED", ())
    monkeypatch.setattr(images, "BUILT", ("labkit-broker",))
    docker = Docker("labkit", os.environ)
    tag = f"labkit-broker:{images.source_digest()}"
    file = tmp_path / "images.tar"
    assert f"{file} holds all images" in lab.done("images", "export", file).out
    docker.run("tag", tag, "labkit-test-kept")  # so that its layers, and running containers, stay
    try:
        docker.run("rmi", tag)
        assert not images.is_here(docker, tag)
        assert tag in lab.done("images", "import", file).out
        assert images.is_here(docker, tag)
    finally:
        docker.run("rmi", "labkit-test-kept")
    file.write_bytes(file.read_bytes()[:100_000])
    assert "holds no images, or only a part of them" in lab.refused("images", "import", file, code=2)
