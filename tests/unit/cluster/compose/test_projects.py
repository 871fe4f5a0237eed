"""The lab's running compose projects, with a stand-in for ``docker``."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from labkit.cluster.compose import projects
from labkit.cluster.compose.projects import Project, cluster_of, missing_in_env_file, only_in_env_file

LISTED = """\
labkit\tlabkit-lab:3f2a\t127.0.0.1:8888->8888/tcp
labkit\tlabkit-worker:3f2a\t
labkit\tredis:7-alpine\t127.0.0.1:6400->6379/tcp
labkit\tlabkit-broker:3f2a\t127.0.0.1:5555->5555/tcp, 127.0.0.1:5557->5557/tcp
shop\tredis:7-alpine\t0.0.0.0:6379->6379/tcp, [::]:6379->6379/tcp
\tubuntu\t
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_labs_projects_are_recognized_by_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed").write_text(LISTED, encoding="utf-8")
    stand_in(tmp_path, monkeypatch, f"cat {tmp_path}/listed")
    assert projects.running() == [Project("labkit", frozenset({5555, 5557, 6400, 8888}))]


@pytest.mark.parametrize("script", ["echo no engine >&2; exit 1", "exec sleep 600"], ids=["fails", "hangs"])
def test_without_an_answer_from_docker_there_are_no_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(projects, "ASK_S", 0.2)
    stand_in(tmp_path, monkeypatch, script)
    assert projects.running() == []


def test_a_project_is_the_cluster_that_up_has_noted(tmp_path: Path) -> None:
    for name, note in {"mine": '{"project": "shared"}', "broken": "{"}.items():
        folder = tmp_path / "clusters" / name
        folder.mkdir(parents=True)
        (folder / "compose.json").write_text(note, encoding="utf-8")
    assert cluster_of("shared", tmp_path) == "mine"
    assert cluster_of("labkit", tmp_path) == "default"
    assert cluster_of("labkit-second", tmp_path) == "second"


def test_settings_only_in_composes_env_file_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only_in_env_file(tmp_path / "missing") == []
    monkeypatch.setenv("LABKIT_CLIENT_PORT", "6000")
    (file := tmp_path / ".env").write_text(
        "# LABKIT_LANG=es\nLABKIT_CLIENT_PORT=6000\nexport WORKER_2_CAPABILITIES=blur\nPATH_OF_MINE=/x\n",
        encoding="utf-8",
    )
    assert only_in_env_file(file) == ["WORKER_2_CAPABILITIES"]


def test_ports_and_the_projects_name_need_not_be_in_the_environment(tmp_path: Path) -> None:
    (file := tmp_path / ".env").write_text(
        "LABKIT_REDIS_PORT=6380\nLABKIT_LAB_PORT=9000\nCOMPOSE_PROJECT_NAME=ana\nLABKIT_POLICY=random_choice\n",
        encoding="utf-8",
    )
    assert only_in_env_file(file) == ["LABKIT_POLICY"]


def test_ports_that_docker_compose_would_not_choose_itself_are_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert missing_in_env_file({"client": 5555, "event": 5557, "redis": 6379, "lab": 8888}, file) == []
    found = missing_in_env_file({"client": 20_001, "event": 5557, "redis": 20_002}, file)
    assert found == ["LABKIT_CLIENT_PORT=20001", "LABKIT_REDIS_PORT=20002"]
    file.write_text("LABKIT_CLIENT_PORT=20001\nexport LABKIT_REDIS_PORT='6400'\n#LABKIT_EVENT_PORT=1\n")
    assert missing_in_env_file({"client": 20_001, "event": 5557, "redis": 20_002}, file) == [
        "LABKIT_REDIS_PORT=20002"
    ]
    assert missing_in_env_file({"redis": 6379, "lab": 8889}, file) == [
        "LABKIT_REDIS_PORT=6379",
        "LABKIT_LAB_PORT=8889",
    ]
