"""Docker's description of containers as a cluster's processes; the packages of the images."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from labkit.cluster.compose import containers, images
from labkit.cluster.compose.backend import ComposeBackend
from labkit.cluster.compose.docker_json import Container, ContainerState
from labkit.core.errors import ClusterError, InvalidInput
from labkit.security.credentials import Token
from tests.tools.command_line import ROOT

MEMORY = "SIGKILL: out of memory"
NEVER = "0001-01-01T00:00:00Z"


def container(
    service: str, number: int = 1, restarts: int = 0, up_s: float = 60, ports: Any = None, **state: Any
) -> Container:
    """Return one container as in ``docker inspect``, as far as the code uses it."""
    began = datetime.now(UTC) - timedelta(seconds=up_s)
    status = state.pop("Status", "running")
    usual = {"Pid": 4711, "ExitCode": 0, "OOMKilled": False, "FinishedAt": NEVER}
    usual["StartedAt"] = began.strftime("%Y-%m-%dT%H:%M:%S.%f123Z")
    usual["Running"] = status in ("running", "paused", "restarting")
    labels = {"service": service, "container-number": str(number)}
    return {
        "Id": f"{number}{service.replace('-', '0'):x<63}",
        "RestartCount": restarts,
        "State": cast("ContainerState", {**usual, **state, "Status": status}),
        "Config": {
            "Image": f"labkit-{service}:0123abcd",
            "Labels": {f"com.docker.compose.{key}": value for key, value in labels.items()},
        },
        "HostConfig": {"PortBindings": ports},
    }


def test_rows_have_the_order_of_a_local_clusters() -> None:
    services = ["worker-2", "lab", "worker", "redis", "keys", "worker-1", "broker"]
    rows = containers.rows_of([container(service) for service in services])
    assert [row["kind"] for row in rows] == ["broker", "redis", "worker", "worker", "worker", "lab"]
    assert [row["name"] for row in rows[:4]] == ["broker", "redis", "worker-1", "worker-2"]


def test_an_elastic_worker_is_named_after_its_container() -> None:
    (row,) = containers.rows_of([container("worker", 2)])
    assert row["name"] == f"worker-{row['container'][:12]}" and row["kind"] == "worker"


@pytest.mark.parametrize(
    ("state", "word", "last_exit"),
    [
        ({"Status": "running"}, "running", ""),
        ({"Status": "paused"}, "paused", ""),
        ({"Status": "created"}, "stopped", ""),
        ({"Status": "exited", "FinishedAt": "2026"}, "stopped", "exit 0"),
        ({"Status": "exited", "ExitCode": 137, "FinishedAt": "2026"}, "killed", "SIGKILL"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True, "FinishedAt": "2026"}, "killed", MEMORY),
        ({"Status": "restarting", "ExitCode": 2, "FinishedAt": "2026"}, "restarting", "exit 2"),
        ({"Status": "restarting", "ExitCode": 155, "FinishedAt": "2026"}, "restarting", "SIGPROF"),
    ],
)
def test_dockers_states_become_the_labs_states(state: dict[str, Any], word: str, last_exit: str) -> None:
    row = containers.row_of(container("worker-1", **state))
    assert (row["state"], row["last_exit"]) == (word, last_exit)


def test_short_lives_count_only_while_restarts_are_recent() -> None:
    assert containers.row_of(container("worker-1", Status="restarting", restarts=4))["short_lives"] == 4
    assert containers.row_of(container("worker-1", restarts=4, up_s=2))["short_lives"] == 4
    assert containers.row_of(container("worker-1", restarts=4, up_s=60))["short_lives"] == 0


def test_ports_include_those_of_containers_that_are_down() -> None:
    bindings = {"5555/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6001"}], "5557/tcp": [{"HostPort": "6003"}]}
    ports = containers.ports_of([container("broker", Status="exited", ports=bindings), container("worker-1")])
    assert ports == {"client": 6001, "event": 6003}


def test_the_tag_is_that_of_the_running_broker() -> None:
    assert containers.tag_of([container("redis"), container("broker")]) == "0123abcd"
    assert containers.tag_of([container("redis")]) == "latest"


def test_an_unknown_name_raises_an_error_with_the_known_ones() -> None:
    rows = containers.rows_of([container("broker"), container("worker-1")])
    with pytest.raises(InvalidInput, match="'worker-9' is unknown; the cluster has broker, worker-1"):
        containers.find(rows, "worker-9")


class RefusingDocker:
    """A Docker that lists its containers and refuses every command."""

    project = "p"

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}

    def containers(self) -> list[Container]:
        published = {"5555/tcp": [{"HostPort": "1"}], "5557/tcp": [{"HostPort": "2"}]}
        return [container("broker", ports=published), container("worker-1")]

    def run(self, *words: str) -> str:
        raise ClusterError("docker {word} failed", word=words[0])


@pytest.fixture
def refusing() -> ComposeBackend:
    return ComposeBackend(RefusingDocker(), "p", Token("secret"))  # type: ignore[arg-type]


def test_a_worker_that_docker_does_not_remove_can_be_used_again(
    refusing: ComposeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    refusing.scale(0)
    for thread in list(refusing._leaving.values()):
        thread.join(10.0)
    assert [row["state"] for row in refusing.status()["processes"]] == ["running", "running"]
    assert "worker-1 could not be removed: docker stop failed" in caplog.text


def test_a_history_that_cannot_be_copied_leaves_no_folder(
    refusing: ComposeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ClusterError("docker cp failed")

    monkeypatch.setattr("labkit.cluster.compose.backend.HistoryCopy", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _often in range(3):
        with pytest.raises(ClusterError, match="docker cp failed"):
            refusing.events_file()
    assert len(list(tmp_path.iterdir())) == 1
    refusing.close()
    assert not list(tmp_path.iterdir())


# --- what an image takes from requirements.txt and constraints.txt ---


@pytest.fixture(scope="module")
def picker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "pick_requirements", ROOT / "docker" / "pick_requirements.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lines_are_picked_unchanged_and_names_compared_as_pypi_does(picker: ModuleType) -> None:
    lines = ["# people", "PyZMQ==27.3.0   # sockets", "", 'valkey_lite==9.1; sys_platform != "win32"']
    assert picker.pick(lines, ["pyzmq", "Valkey.Lite"]) == [
        "PyZMQ==27.3.0",
        'valkey_lite==9.1; sys_platform != "win32"',
    ]


def test_a_packages_dependencies_are_picked_with_it_and_no_others(picker: ModuleType) -> None:
    lines = ["# made by a tool", "redis==8", "    # via -r requirements.txt", "retry==1 ; os_name == 'nt'",
             "    # via", "    #   -r requirements.txt", "    #   Redis", "six==2", "    # via retry",
             "noise==3", "    # via rich"]  # fmt: skip
    assert picker.pulled_in(lines, ["redis"]) == ["retry==1 ; os_name == 'nt'", "six==2"]
    assert picker.pulled_in(lines, ["redis", "retry"]) == ["six==2"]


def test_a_package_missing_from_the_list_is_an_error(picker: ModuleType, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2\n", encoding="utf-8")
    assert picker.main([str(tmp_path), str(tmp_path / "picked"), "numpy", "scipy"]) == 1
    assert "no package 'scipy'" in capsys.readouterr().err


def test_images_install_only_packages_of_the_list_and_pin_none(picker: ModuleType, tmp_path: Path) -> None:
    for path in (ROOT / "docker").glob("Dockerfile.*"):
        text = path.read_text(encoding="utf-8")
        wanted = re.search(r"pick_requirements\.py / /picked((?:[\w.-]+|\\\n|[ ])+)\n", text)
        assert wanted is not None, path.name
        names = wanted[1].replace("\\", "").split()
        assert picker.main([str(ROOT), str(tmp_path), *names]) == 0
        picked = (tmp_path / "requirements.txt").read_text(encoding="utf-8").splitlines()
        assert len(picked) == len(names) and all("==" in line for line in picked)
        assert "==" not in text, path.name
        assert "-r /picked/requirements.txt -c /picked/constraints.txt" in text, path.name


def test_an_image_is_installed_within_the_pins_of_its_dependencies(
    picker: ModuleType, tmp_path: Path
) -> None:
    assert picker.main([str(ROOT), str(tmp_path), "jupyterlab"]) == 0
    pins = {line.partition("==")[0] for line in (tmp_path / "constraints.txt").read_text().splitlines()}
    assert {"jupyter-server", "terminado", "ptyprocess"} <= pins
    assert "jupyterlab" not in pins and "contourpy" not in pins


# --- the digest of the sources ---


def test_the_digest_changes_only_with_the_sources_of_the_images(tmp_path: Path) -> None:
    for name in ("labkit", "workers", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "labkit" / "jobs.py").write_text("one", encoding="utf-8")
    before = images.source_digest(tmp_path)
    (tmp_path / "tests" / "test_jobs.py").write_text("a test", encoding="utf-8")
    (tmp_path / "labkit" / "__pycache__").mkdir()
    (tmp_path / "labkit" / "__pycache__" / "jobs.pyc").write_bytes(b"1")
    assert images.source_digest(tmp_path) == before
    (tmp_path / "labkit" / "jobs.py").write_text("two", encoding="utf-8")
    assert images.source_digest(tmp_path) != before
