"""Every command that is printed acts on the cluster that it is about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from labkit.cli import attention, output
from labkit.cli.cluster import backend_of, broker_is_down
from labkit.cli.commands import COMMANDS
from labkit.cli.parser import command_parser
from labkit.cli.process_commands import _why_not
from labkit.cluster import Cluster
from labkit.cluster.backend import Backend
from labkit.cluster.compose import projects
from labkit.cluster.compose.projects import Project
from labkit.cluster.processes import ProcessRow
from labkit.cluster.readiness import down_by_command
from labkit.cluster.run_folder import VERSION, RunFolder
from labkit.cluster.status import recovery_command
from labkit.core.errors import ClusterError
from labkit.support import i18n, process_groups
from labkit.support.settings import Settings
from tests.tools.command_line import ROOT, Commands


@pytest.fixture(autouse=True)
def nothing_is_meant() -> Iterator[None]:
    output.mean()
    yield
    output.mean()


def test_the_commands_about_a_cluster_are_those_that_take_its_name() -> None:
    def options(name: str) -> set[str]:
        return {option for action in command_parser(name)._actions for option in action.option_strings}

    about = {name for name in COMMANDS if {"--name", "--backend"} <= options(name)}
    assert set(output.ABOUT_A_CLUSTER) == about


CALL = "python -m labkit"


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("the broker is down; python -m labkit start broker", "start broker --backend compose"),
        (
            "waiting: python -m labkit resume ana-worker-12; then",
            "resume ana-worker-12 --backend compose; then",
        ),
        ("python -m labkit scale 3", "scale 3 --backend compose"),
        ("python -m labkit logs shows why", "logs --backend compose shows why"),
        ("(python -m labkit up)", "up --backend compose)"),
        (
            "python -m labkit up starts it. python -m labkit down.",
            "up --backend compose starts it. python -m labkit down --backend compose.",
        ),
        ("python -m labkit down --name second ends it", "down --name second --backend compose ends it"),
        ("python -m labkit status --backend local shows", "status --backend local shows"),
        ("python -m labkit kill worker-2.", "kill worker-2 --backend compose."),
        ("python -m labkit doctor checks Docker too", "doctor checks Docker too"),
        ("python -m labkit images import FILE", "images import FILE"),
        ("python -m labkit startle", "startle"),
    ],
)
def test_a_command_in_a_sentence_names_the_cluster_that_is_meant(sentence: str, named: str) -> None:
    assert output.as_called(sentence) == sentence.replace(CALL, output.call()), "none has to be named"
    output.mean(backend="compose")
    assert output.as_called(sentence).endswith(named.replace(CALL, output.call()))


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_warnings_name_the_cluster_in_both_languages(lang: str) -> None:
    i18n.set_language(lang)
    rows = [
        {"name": "broker", "kind": "broker", "state": "paused", "restart_in_s": None},
        {"name": "redis", "kind": "redis", "state": "stopped", "restart_in_s": None, "unstarted": True},
        {
            "name": "ana-worker-2",
            "kind": "worker",
            "state": "restarting",
            "restart_in_s": 1.0,
            "last_exit": "x",
        },
    ]
    status = {"processes": rows, "broker": {}, "unrecorded_faults": []}
    output.mean(name="second", backend="compose")
    lines = attention.lines(status)  # type: ignore[arg-type]
    assert len(lines) == 3
    for line, command in zip(lines, ("resume broker", "up", "logs ana-worker-2"), strict=True):
        assert f"{command} --name second --backend compose" in line


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_what_was_never_started_is_made_anew_by_up(
    lang: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """``start`` would meet the taken port again."""
    i18n.set_language(lang)
    broker: ProcessRow = {
        "name": "broker", "kind": "broker", "state": "stopped", "pid": None, "restarts": 0, "short_lives": 0,
        "last_exit": "", "restart_in_s": None, "up_s": None, "unstarted": True,
    }  # fmt: skip
    assert recovery_command([broker], "broker") == "up" and recovery_command([broker], "redis") == ""
    assert broker_is_down("up")[0] == "up" and capsys.readouterr().out.count("\n") == 1
    backend = SimpleNamespace(
        is_private=False, name="compose", endpoints=SimpleNamespace(name="default"), kind="compose"
    )
    error = down_by_command(cast(Backend, backend), [broker])
    assert error is not None and "up --backend compose" in i18n.translate_error(error)
    cluster = SimpleNamespace(backend="compose", status=lambda: {"processes": [broker]})
    refused = ClusterError(
        "{name} is {state}: {fault} does not apply", name="broker", state="stopped", fault="kill"
    )
    why = i18n.translate_error(_why_not(refused, cast(Cluster, cluster), "broker"))
    assert "python -m labkit up " in why and "start broker" not in why
    assert _why_not(refused, cast(Cluster, cluster), "worker-1").params["command"] == "start broker"
    broker["unstarted"] = False
    assert recovery_command([broker], "broker") == "start"


def test_next_steps_name_the_cluster_once(capsys: pytest.CaptureFixture[str]) -> None:
    output.mean(name="second", backend="compose")
    output.next_steps(
        ("submit --filters blur --out out", "work"), ("down --name second", "end it"), ("doctor", "?")
    )
    lines = [line.split("   ")[0].strip() for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        f"{output.call()} submit --filters blur --out out --name second --backend compose",
        f"{output.call()} down --name second --backend compose",
        f"{output.call()} doctor",
    ]


# --- which cluster a command is about ---


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    return Settings(home=tmp_path)


def local_is_up(settings: Settings, name: str = "default") -> None:
    folder = RunFolder.of(settings.home, name)
    folder.path.mkdir(parents=True)
    born = process_groups.birth(os.getpid())
    state = {"version": VERSION, "name": name, "processes": {"supervisor": [os.getpid(), born]}, "ports": {}}
    folder.state_file.write_text(json.dumps(state), encoding="utf-8")


def containers_are_up(monkeypatch: pytest.MonkeyPatch, *names: str, folder: Path = ROOT) -> None:
    there = [Project(name, frozenset(), str(folder)) for name in names]
    monkeypatch.setattr(projects, "running", lambda: there)


def meant(command: str = "kill worker-2") -> str:
    return output.with_cluster(command).removeprefix("kill worker-2").strip()


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_where_two_are_up_the_command_says_so_and_names_the_choice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    i18n.set_language(lang)
    local_is_up(settings)
    containers_are_up(monkeypatch, "labkit")
    assert backend_of(None, settings, None) == "local"
    said = capsys.readouterr().err
    assert "labkit" in said and "--backend compose" in said and said.count("\n") == 1
    assert meant() == "--backend local", "a hint means the same cluster when another one is up"
    for chosen in ("local", "compose"):
        assert backend_of(None, settings, chosen) == chosen
        assert meant() == f"--backend {chosen}" and capsys.readouterr().err == ""


def test_a_project_that_docker_compose_started_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    containers_are_up(monkeypatch, "labkit", "labkit-second")
    assert backend_of(None, settings, None) == "compose" and meant() == "--backend compose"
    assert backend_of("second", settings, None) == "compose"
    assert meant() == "--name second --backend compose"
    assert backend_of("third", settings, None) == "local" and meant() == "--name third"
    assert capsys.readouterr().err == ""


def test_a_backend_of_the_environment_is_named_where_the_command_has_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers_are_up(monkeypatch, "labkit")
    inherits = Settings(home=settings.home, backend="compose")
    assert backend_of(None, inherits, "local") == "local" and meant() == "--backend local"


@pytest.mark.parametrize("backend", ["local", "compose"])
def test_a_name_of_the_environment_is_named_for_other_terminals(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    inherits = Settings(home=settings.home, cluster="ana", backend=backend)
    if backend == "local":
        local_is_up(settings, "ana")
    containers_are_up(monkeypatch, "labkit-ana" if backend == "compose" else "labkit")
    assert backend_of(None, inherits, None) == backend
    assert meant() == f"--name ana --backend {backend}"
    assert backend_of("default", inherits, None) == backend
    assert meant() == f"--name default --backend {backend}"


def test_several_projects_beside_a_local_cluster_do_not_hide_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local_is_up(settings)
    containers_are_up(monkeypatch, "ana", "eva")
    assert backend_of(None, settings, None) == "local"
    assert "(project ana, eva)" in capsys.readouterr().err


def test_a_local_cluster_alone_needs_no_option(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    local_is_up(settings)
    containers_are_up(monkeypatch)
    assert backend_of(None, settings, None) == "local" and meant() == ""


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
@pytest.mark.parametrize(
    "words",
    [["status"], ["kill", "worker-1"], ["logs", "broker"], ["redis", "PING"], ["down"], ["scale", "3"]],
    ids=" ".join,
)
def test_what_runs_under_another_name_is_told_with_its_options(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    lang: str,
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(settings.home))
    monkeypatch.setenv("LABKIT_LANG", lang)
    i18n.set_language(lang)
    local_is_up(settings, "ana")
    containers_are_up(monkeypatch, "labkit-eva")
    line = Commands(capsys).refused(*words, code=1)
    assert "'default'" in line and line.endswith(": --name ana, --name eva --backend compose")


def test_a_cluster_of_the_other_backend_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(settings.home))
    containers_are_up(monkeypatch, "labkit")
    line = Commands(capsys).refused("status", "--backend", "local", code=1)
    assert line.endswith("; running: --name default --backend compose")
    containers_are_up(monkeypatch)
    assert "; running" not in Commands(capsys).refused("status", code=1)


def test_a_command_means_nothing_from_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    output.mean(backend="compose")
    Commands(capsys)("nonsense")
    assert meant() == ""


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_two_projects_of_the_users_own_names_are_listed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(settings.home))
    monkeypatch.setenv("LABKIT_LANG", lang)
    i18n.set_language(lang)
    containers_are_up(monkeypatch, "ana", "eva")
    line = Commands(capsys).refused("kill", "worker-2", code=1)
    assert "ana, eva" in line and "--name ana" in line
