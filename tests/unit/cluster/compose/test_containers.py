"""Docker's description of containers as a cluster's processes; the packages of the images."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import yaml

from labkit.cluster import Cluster
from labkit.cluster.compose import containers, images
from labkit.cluster.compose.backend import ComposeBackend
from labkit.cluster.compose.docker_json import Container, ContainerState
from labkit.core.errors import ClusterError, InvalidInput
from labkit.security.credentials import Token
from labkit.support.palette import worker_colour
from tests.tools.command_line import ROOT

MEMORY = "SIGKILL: out of memory"
NEVER = "0001-01-01T00:00:00Z"


def container(
    service: str,
    number: int = 1,
    restarts: int = 0,
    up_s: float = 60,
    ports: Any = None,
    name: str = "",
    **state: Any,
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
        **({"Name": f"/{name}"} if name else {}),  # type: ignore[typeddict-item]
    }


def test_rows_have_the_order_of_a_local_clusters() -> None:
    services = ["worker-2", "lab", "worker", "redis", "keys", "worker-1", "broker"]
    rows = containers.rows_of([container(service) for service in services])
    assert [row["kind"] for row in rows] == ["broker", "redis", "worker", "worker", "worker", "lab"]
    assert [row["name"] for row in rows[:4]] == ["broker", "redis", "worker-1", "worker-2"]


def test_an_elastic_worker_is_named_after_its_container() -> None:
    (row,) = containers.rows_of([container("worker", 2)])
    assert row["name"] == f"worker-{row['container'][:12]}" and row["kind"] == "worker"


def test_an_elastic_worker_has_its_containers_name_and_a_named_one_its_services() -> None:
    """`docker kill labkit-worker-2` is about the worker that status calls labkit-worker-2, never worker-2."""
    rows = containers.rows_of(
        [
            container("worker", 10, name="labkit-worker-10"),
            container("worker", 2, name="labkit-worker-2"),
            container("worker-2", name="labkit-worker-2-1"),
        ]
    )
    assert [(row["name"], row["container_name"]) for row in rows] == [
        ("worker-2", "labkit-worker-2-1"),
        ("labkit-worker-2", "labkit-worker-2"),
        ("labkit-worker-10", "labkit-worker-10"),
    ]
    with pytest.raises(InvalidInput, match="labkit-worker-2-1 is the container of worker-2; use the name"):
        containers.find(rows, "labkit-worker-2-1")
    assert containers.find(rows, "labkit-worker-2")["number"] == 2


def test_a_containers_name_that_no_worker_may_have_is_replaced_by_its_id() -> None:
    (row,) = containers.rows_of([container("worker", name="x" * 60 + "-worker-1")])
    assert row["name"] == f"worker-{row['container'][:12]}"


def test_elastic_workers_have_other_colours_than_the_named_ones() -> None:
    named = {worker_colour(f"worker-{n}") for n in (1, 2, 3)}
    elastic = {worker_colour(f"labkit-worker-{n}") for n in (1, 2, 3)}
    assert len(named | elastic) == 6


def test_what_a_half_made_project_lacks_is_listed() -> None:
    published = {"5555/tcp": [{"HostPort": "1"}], "5557/tcp": [{"HostPort": "2"}]}
    broker, keys = container("broker", ports=published), container("keys", Status="exited")
    assert containers.missing([broker, keys, container("worker-1", Status="exited")]) == []
    assert containers.missing([keys, container("worker-1")]) == ["broker"]
    assert containers.missing([broker, container("lab")]) == ["keys"]
    unstarted = [container("redis", Status="created"), container("worker-3", Status="dead")]
    assert containers.missing([broker, keys, *unstarted]) == ["redis", "worker-3"]
    assert containers.has_broker([broker]) and not containers.has_broker([keys])


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


def at(ago_s: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).strftime("%Y-%m-%dT%H:%M:%S.%f123Z")


def test_restarts_of_other_days_are_no_short_lives_now() -> None:
    waits: dict[str, Any] = {"Status": "restarting", "StartedAt": at(3600), "FinishedAt": at(0.1)}
    assert containers.row_of(container("worker-1", restarts=40, **waits))["short_lives"] == 0
    back: dict[str, Any] = {"StartedAt": at(2), "FinishedAt": at(2.4)}  # Docker waited as after a long life
    assert containers.row_of(container("worker-1", restarts=40, up_s=2, **back))["short_lives"] < 3
    again: dict[str, Any] = {"StartedAt": at(2), "FinishedAt": at(9)}
    assert containers.row_of(container("worker-1", restarts=40, up_s=2, **again))["short_lives"] >= 3


def test_ports_include_those_of_containers_that_are_down() -> None:
    bindings = {"5555/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6001"}], "5557/tcp": [{"HostPort": "6003"}]}
    ports = containers.ports_of([container("broker", Status="exited", ports=bindings), container("worker-1")])
    assert ports == {"client": 6001, "event": 6003}


def test_the_tag_is_that_of_the_running_broker() -> None:
    assert containers.tag_of([container("redis"), container("broker")]) == "0123abcd"
    assert containers.tag_of([container("redis")]) == "latest"
    assert containers.tag_of([container("redis"), container("worker-1"), container("keys")]) == "latest"
    keys = container("keys")
    keys["Config"]["Image"] = "labkit-broker:4567"
    assert containers.tag_of([container("redis"), keys]) == "4567", "the broker's container may be missing"


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


class MovedDocker(RefusingDocker):
    """A Docker whose broker is made anew at other ports; then it is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 6000

    def containers(self) -> list[Container]:
        if not self.port:
            return [container("worker-1")]
        published = {
            "5555/tcp": [{"HostPort": f"{self.port}"}],
            "5557/tcp": [{"HostPort": f"{self.port + 2}"}],
        }
        redis = {"6379/tcp": [{"HostPort": f"{self.port + 3}"}]}
        return [container("broker", ports=published), container("redis", ports=redis)]


def test_a_broker_made_anew_at_other_ports_is_followed() -> None:
    docker = MovedDocker()
    backend = ComposeBackend(docker, "p", Token("secret"))  # type: ignore[arg-type]
    cluster = Cluster(backend)
    assert (cluster.address, cluster.redis_url) == ("tcp://127.0.0.1:6000", "redis://127.0.0.1:6003/0")
    docker.port = 7000
    backend.status()
    assert (cluster.address, cluster.event_address) == ("tcp://127.0.0.1:7000", "tcp://127.0.0.1:7002")
    assert cluster.ports == {"client": 7000, "event": 7002, "redis": 7003}
    docker.port = 8000
    assert backend.find_broker() == "tcp://127.0.0.1:8000" == cluster.address


def test_without_the_brokers_container_the_error_names_the_command_that_mends_it() -> None:
    docker = MovedDocker()
    backend = ComposeBackend(docker, "p", Token("secret"))  # type: ignore[arg-type]
    docker.port = 0
    with pytest.raises(containers.ClusterIncomplete, match="python -m labkit up --backend compose"):
        backend.find_broker()
    with pytest.raises(containers.ClusterIncomplete, match="of the project p is missing"):
        ComposeBackend(docker, "p", Token("secret"))  # type: ignore[arg-type]
    assert [row["name"] for row in backend.status()["processes"]] == ["worker-1"], "the rest is shown"


class TaggingDocker:
    """A Docker that keeps images by name."""

    def __init__(self, *names: str) -> None:
        self.names = dict.fromkeys(names, "sha256:0")
        self.environ: dict[str, str] = {}

    def run(self, command: str, image: str, name: str) -> str:
        assert command == "tag"
        self.names[name] = image
        return ""


def test_an_image_that_lost_its_name_gets_it_back_from_a_container_that_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker: Any = TaggingDocker("labkit-broker:1")
    monkeypatch.setattr(images, "is_here", lambda docker, image: image in docker.names)
    found = []
    for service, image in (
        ("broker", "labkit-broker:1"),
        ("worker-1", "labkit-worker:1"),
        ("redis", "redis:7"),
    ):
        found.append(container(service))
        found[-1]["Config"]["Image"], found[-1]["Image"] = image, f"sha256:{service}"
    images.restore(docker, found)
    assert docker.names == {"labkit-broker:1": "sha256:0", "labkit-worker:1": "sha256:worker-1"}


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


def test_labs_image_has_every_package_that_its_code_imports(picker: ModuleType, tmp_path: Path) -> None:
    text = (ROOT / "docker" / "Dockerfile.lab").read_text(encoding="utf-8")
    wanted = re.search(r"pick_requirements\.py / /picked((?:[\w.-]+|\\\n|[ ])+)\n", text)
    assert wanted is not None
    assert picker.main([str(ROOT), str(tmp_path), *wanted[1].replace("\\", "").split()]) == 0
    lines = [
        line
        for name in ("requirements.txt", "constraints.txt")
        for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()
    ]
    installed = {picker.name_of(line) for line in lines}
    sold_as = packages_distributions()
    copied = [path for room in ("labkit", "workers") for path in (ROOT / room).rglob("*.py")]
    imported = {name for path in copied for name in _imported(path)} - set(sys.stdlib_module_names)
    imported -= {"labkit", "workers", "benchmarks"} | {"_typeshed"}  # ours; for type checkers only
    missing = {
        name
        for name in imported
        if not installed & {picker.normal(package) for package in sold_as.get(name, [name])}
    }
    assert {"yaml", "zmq", "IPython"} <= imported and missing == set()


def _imported(path: Path) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


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


def test_the_http_side_is_a_process_with_a_published_port() -> None:
    bindings = {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}]}
    api = container("api", ports=bindings)
    (row,) = containers.rows_of([api])
    assert (row["name"], row["kind"], row["state"]) == ("api", "api", "running")
    assert containers.ports_of([api]) == {"api": 8123}


# --- the compose file and what its services share ---


def _services(path: Path) -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    return described


def test_each_service_extends_the_one_of_its_name_and_repeats_nothing() -> None:
    own, shared = _services(ROOT / "docker-compose.yml"), _services(ROOT / "docker" / "services.yml")
    assert own.keys() == shared.keys()
    for name, service in own.items():
        assert service.pop("extends") == {"file": "docker/services.yml", "service": name}
        twice = service.keys() & shared[name].keys() - {"environment", "volumes"}
        assert not twice, f"{name} has {twice} in both files"
        mounted = [v.split(":")[-2 if v.endswith(":ro") else -1] for v in service.get("volumes", ())]
        assert set(mounted) <= {"/lab/learner"}, "a path of the user's is relative to this file's folder"
        both = service.get("environment", {}).keys() & shared[name].get("environment", {}).keys()
        assert not both, f"{name} has {both} in both files"


def test_each_volume_that_a_service_mounts_is_declared() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    mounted = {
        volume.partition(":")[0]
        for service in _services(ROOT / "docker" / "services.yml").values()
        for volume in service.get("volumes", ())
        if not volume.startswith("$")
    }
    assert mounted | {"work"} == yaml.safe_load(text)["volumes"].keys()
