"""Which compose project a cluster is, however it was started; with a stand-in for ``docker``."""

from __future__ import annotations

import stat
from argparse import Namespace
from pathlib import Path

import pytest

from labkit.cli.cluster import connected
from labkit.cluster import connect
from labkit.cluster.compose.projects import running_project
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import ClusterError, ClusterNotRunning
from labkit.support.settings import Settings
from tests.tools.command_line import ROOT

HERE = str(ROOT)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    return Settings(home=tmp_path)


def docker_lists(folder: Path, monkeypatch: pytest.MonkeyPatch, *containers: tuple[str, str, str]) -> None:
    """Have ``docker ps`` list these: project, image, folder."""
    lines = "".join(f"{project}\t{image}\t\t{started_in}\n" for project, image, started_in in containers)
    (folder / "listed").write_text(lines, encoding="utf-8")
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\nexec cat {folder}/listed\n", encoding="utf-8")
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_projects_of_the_rule_are_found_without_a_note(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_lists(
        tmp_path, monkeypatch, ("labkit", "labkit-broker", "/other/clone"), ("labkit-b", "labkit-lab", "/x")
    )
    assert running_project("default", settings) == "labkit"
    assert running_project("b", settings) == "labkit-b"
    assert running_project("c", settings) is None
    assert running_project("C", settings) is None, "no project can be called so"


@pytest.mark.parametrize("image", ["labkit-broker:latest", "52b6a5e60454"], ids=["named", "built anew since"])
def test_a_project_with_a_name_of_the_users_own_is_found(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    docker_lists(tmp_path, monkeypatch, ("ana", "redis:7-alpine", HERE), ("ana", image, HERE))
    assert running_project("default", settings) == "ana"
    assert running_project("ana", settings) == "ana", "status --name ana"
    assert running_project("eva", settings) is None


def test_another_copys_project_and_a_private_one_are_not_the_default(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_lists(
        tmp_path,
        monkeypatch,
        ("ana", "labkit-broker:latest", "/other/clone"),
        ("labkit-private-1a2b3c4d", "labkit-broker:latest", HERE),
        ("shop", "redis:7-alpine", "/shop"),
        ("", "ubuntu", ""),
    )
    assert running_project("default", settings) is None


def test_two_names_of_the_users_own_are_a_choice(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_lists(tmp_path, monkeypatch, ("ana", "labkit-broker", HERE), ("eva", "labkit-broker", HERE))
    with pytest.raises(ClusterError, match="ana, eva; choose one: --name ana"):
        running_project("default", settings)
    assert running_project("eva", settings) == "eva"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "eva")
    assert running_project("default", settings) == "eva"


def test_a_project_named_in_the_environment_is_the_only_one_meant(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_lists(tmp_path, monkeypatch, ("labkit", "labkit-broker", HERE))
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "eva")
    assert running_project("default", settings) is None


def test_a_note_of_a_project_that_is_down_hides_no_other(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder.of(settings.home, "default").note_compose_project("eva")
    docker_lists(tmp_path, monkeypatch, ("labkit", "labkit-broker", HERE))
    assert running_project("default", settings) == "labkit"
    docker_lists(tmp_path, monkeypatch, ("labkit", "labkit-broker", HERE), ("eva", "labkit-broker", HERE))
    assert running_project("default", settings) == "eva"


def test_a_note_of_a_project_that_is_gone_leaves_both_choices(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder.of(settings.home, "default").note_compose_project("eva")
    docker_lists(tmp_path, monkeypatch)
    for backend in (None, "compose"):
        options = Namespace(name=None, backend=backend)
        for begin in (lambda: connect(None, settings, backend=backend), lambda: connected(options, settings)):  # noqa: B023
            with pytest.raises(ClusterNotRunning) as refused:
                begin()
            assert "up --backend compose starts" in str(refused.value)
            assert ("up --backend local starts" in str(refused.value)) == (backend is None), "not asked for"
