"""The choice of the backend: the call, then the environment, then the note of ``up``, then processes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit.cluster.compose import start as compose_start
from labkit.cluster.compose.projects import cluster_of
from labkit.cluster.compose.start import project_of
from labkit.cluster.local import start as local_start
from labkit.cluster.open import chosen, connect, of_running, open_cluster, unknown_filters
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import ClusterError, InvalidInput
from labkit.support.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    return Settings(home=tmp_path)


def note(settings: Settings, name: str, project: str) -> None:
    file = RunFolder.of(settings.home, name).compose_file
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"project": "{project}"}}', encoding="utf-8")


def test_the_call_comes_before_the_environment(settings: Settings) -> None:
    assert chosen(None, settings) == "local"
    compose = Settings(home=settings.home, backend="compose")
    assert chosen(None, compose) == "compose"
    assert chosen("local", compose) == "local"


def test_unknown_backend_error_lists_the_known_ones(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="'podman' is unknown; known: local, compose"):
        chosen("podman", settings)


@pytest.mark.parametrize("backend", ["local", "compose"])
def test_unknown_filter_warning_points_at_the_opening_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(local_start, "_start", lambda *_a, **_k: SimpleNamespace())
    monkeypatch.setattr(compose_start, "_private", lambda *_a, **_k: SimpleNamespace())
    misspelt = replace(settings, worker_capabilities=("blurr",))
    with pytest.warns(UserWarning, match="names blurr, but the lab has no such filter") as caught:
        open_cluster(backend=backend, settings=misspelt, ready_timeout_s=None)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_cluster(backend=backend, settings=misspelt, capabilities=["blur"], ready_timeout_s=None)
        inside = replace(misspelt, control=settings.home)
        with pytest.raises(
            ClusterError, match="cannot be changed from inside"
        ):  # and its workers are not ours to name
            open_cluster(1, backend="compose", settings=inside)


def test_unknown_filters_are_reported_with_the_known_ones(settings: Settings) -> None:
    assert unknown_filters(settings) == []
    assert unknown_filters(replace(settings, worker_capabilities=("blur", "edges"))) == []
    (warning,) = unknown_filters(replace(settings, worker_capabilities=("blurr", "edges")))
    assert "WORKER_CAPABILITIES names blurr," in str(warning) and "known: resize, blur" in str(warning)


def test_in_containers_each_named_workers_variable_is_checked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_1_CAPABILITIES", "blur")
    monkeypatch.setenv("WORKER_3_CAPABILITIES", "resize, edgs")
    assert unknown_filters(settings) == [], "processes have no such variable"
    (warning,) = unknown_filters(settings, "compose")
    assert "WORKER_3_CAPABILITIES names edgs," in str(warning)


def test_backend_noted_by_up_is_found_without_naming_it(settings: Settings) -> None:
    assert of_running(None, settings) == "local"
    note(settings, "default", "labkit")
    assert of_running(None, settings) == "compose"
    assert of_running(None, settings, "local") == "local"
    assert of_running("second", settings) == "local"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"labkit"', '{"project": 7}', "[" * 100_000])
def test_invalid_note_counts_as_none(settings: Settings, text: str) -> None:
    note(settings, "second", "")
    RunFolder.of(settings.home, "second").compose_file.write_text(text, encoding="utf-8")
    assert of_running("second", settings) == "local"
    assert project_of("second", settings) == "labkit-second"
    assert cluster_of("labkit-third", settings.home) == "third"


def test_project_of_docker_compose_must_be_named_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose_start, "_lives", lambda _engine: True)
    found: list[str] = []
    monkeypatch.setattr(compose_start, "_connected", lambda engine, *_a, **_k: found.append(engine.project))
    connect(settings=settings, backend="compose")
    assert of_running(None, settings) == "compose", "so the next steps that are shown work"
    (home := settings.home / "a file").touch()
    connect(settings=Settings(home=home), backend="compose")  # where nothing can be noted
    assert found == ["labkit", "labkit"]


def test_a_project_is_called_after_its_cluster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_of("default", settings) == "labkit"
    assert project_of("second", settings) == "labkit-second"
    note(settings, "default", "noted")
    assert project_of("default", settings) == "noted"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "mine")
    assert project_of("default", settings) == "mine"
    assert project_of("second", settings) == "labkit-second"


@pytest.mark.parametrize("name", ["Second", "one.two"])
def test_name_that_compose_rejects_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidInput, match="small letters"):
        project_of(name, settings)


def test_cluster_without_workers_is_local_unless_compose_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.cluster import open

    opened: list[str] = []
    monkeypatch.setattr(local_start, "open_cluster", lambda *_a, **_k: opened.append("local"))
    monkeypatch.setattr(compose_start, "open_cluster", lambda *_a, **_k: opened.append("compose"))
    compose = Settings(home=settings.home, backend="compose")
    open.open_cluster(0, settings=compose)
    open.open_cluster(3, settings=compose)
    open.open_cluster(0, backend="compose", settings=settings)
    assert opened == ["local", "compose", "compose"]


def test_inside_the_lab_unusual_options_open_a_local_cluster(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.cluster import open

    opened: list[tuple[str, Settings]] = []
    monkeypatch.setattr(local_start, "open_cluster", lambda _o, settings: opened.append(("local", settings)))
    monkeypatch.setattr(
        compose_start, "open_cluster", lambda _o, settings: opened.append(("compose", settings))
    )
    home = settings.home
    inside = Settings(
        home=home, backend="compose", control=home, keys=home, folder=home, redis_url="redis://r"
    )
    open.open_cluster(settings=inside)
    open.open_cluster(3, policy="round_robin", settings=inside)
    assert opened == [("compose", inside), ("local", Settings(home=home, backend="compose"))]
