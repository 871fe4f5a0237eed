"""The environment becomes one frozen record, or an error that names the variable and the expected value."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from labkit.core.errors import SettingsError
from labkit.core.protocol.rules import Rules
from labkit.support import settings
from labkit.support.settings import Settings
from tests.tools.command_line import ROOT


def test_an_empty_environment_gives_the_courses_usual_ports_on_loopback() -> None:
    given = Settings.from_environment({})
    assert given.host == "127.0.0.1"
    assert (given.client_port, given.worker_port, given.event_port) == (5555, 5556, 5557)
    assert given.redis_port == 6379
    assert given.redis_url is None
    assert given.home == Path.home() / ".labkit"
    assert given.rules == Rules()
    assert given.worker_capabilities == ()
    assert given.broker_addresses() == ("tcp://127.0.0.1:5556",)
    assert given == Settings()


def test_each_variable_sets_its_field() -> None:
    given = Settings.from_environment(
        {
            "LABKIT_HOST": "localhost",
            "LABKIT_CLIENT_PORT": "7001",
            "LABKIT_WORKER_PORT": "7002",
            "LABKIT_EVENT_PORT": "7003",
            "LABKIT_REDIS_PORT": "7004",
            "REDIS_URL": "redis://elsewhere:6379/1",
            "LABKIT_HOME": "/data/lab",
            "LABKIT_CLUSTER": "group-3",
            "LABKIT_LANG": "es",
            "LABKIT_POLICY": "round_robin",
            "LABKIT_JOB_MODULES": "labkit.jobs, work.day3",
            "LABKIT_BROKER": "tcp://one:1,tcp://two:2",
            "WORKER_ID": "worker-1",
            "WORKER_CAPABILITIES": "resize, blur,,resize",
            "LABKIT_SLOTS": "2",
            "LABKIT_TOKEN_FILE": "/data/token",
            "LABKIT_FOLDER": "/data/run",
            "LABKIT_LIFELINE": "7",
            "LABKIT_WORK": "/data/lessons",
            "LABKIT_BACKEND": "compose",
            "LABKIT_LAB_PORT": "7005",
            "LABKIT_API_PORT": "7006",
            "LABKIT_API_HOST": "0.0.0.0",
            "LABKIT_SPOOL": "/data/pictures",
            "LABKIT_CONTROL": "/control",
            "LABKIT_HEARTBEAT_S": "0.25",
            "LABKIT_MAX_CRASHES": "5",
        }
    )
    assert given == Settings(
        host="localhost",
        client_port=7001,
        worker_port=7002,
        event_port=7003,
        redis_port=7004,
        redis_url="redis://elsewhere:6379/1",
        home=Path("/data/lab"),
        cluster="group-3",
        lang="es",
        policy="round_robin",
        rules=Rules(heartbeat_s=0.25, max_crashes=5),
        job_modules=("labkit.jobs", "work.day3"),
        broker=("tcp://one:1", "tcp://two:2"),
        worker_id="worker-1",
        worker_capabilities=("resize", "blur"),
        worker_slots=2,
        token_file=Path("/data/token"),
        folder=Path("/data/run"),
        work=Path("/data/lessons"),
        lifeline=7,
        backend="compose",
        lab_port=7005,
        api_port=7006,
        api_host="0.0.0.0",
        spool=Path("/data/pictures"),
        control=Path("/control"),
    )
    assert given.broker_addresses() == ("tcp://one:1", "tcp://two:2")


def test_every_field_and_every_rule_has_exactly_one_variable() -> None:
    targets = sorted(target for target, _ in settings._VARIABLES.values())
    assert targets == sorted(field.name for field in fields(Settings) if field.name != "rules")
    rules = sorted(target for target, _ in settings._RULE_VARIABLES.values())
    assert rules == sorted(field.name for field in fields(Rules))
    assert not settings._VARIABLES.keys() & settings._RULE_VARIABLES.keys()


@pytest.mark.parametrize("name", [field.name for field in fields(Rules)])
def test_each_rule_can_be_overridden_by_the_variable_of_its_name(name: str) -> None:
    usual = getattr(Rules(), name)
    value = usual + 1 if isinstance(usual, int) else usual * 1.5
    given = Settings.from_environment({f"LABKIT_{name.upper()}": str(value)})
    assert given.rules == replace(Rules(), **{name: value})


def test_a_variable_of_the_compose_file_is_no_unknown_setting() -> None:
    files = (ROOT / "docker-compose.yml", ROOT / "docker" / "services.yml")
    names = {name for file in files for name in re.findall(r"\$\{(LABKIT_\w+)", file.read_text("utf-8"))}
    assert "LABKIT_TAG" in names
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings()
    assert Settings.from_environment({"LABKIT_TAG": "v1"}) == Settings()


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"REDIS_URL": "", "LABKIT_SLOTS": " ", "WORKER_ID": ""}) == Settings()


def test_foreign_variables_are_ignored() -> None:
    assert (
        Settings.from_environment({"PATH": "/bin", "REDIS_HOST": "x", "WORKER_COLOUR": "red"}) == Settings()
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("LABKIT_HEARTBEAT", "LABKIT_HEARTBEAT_S"),
        ("LABKIT_WORKERPORT", "LABKIT_WORKER_PORT"),
        ("LABKIT_LANGUAGE", "LABKIT_LANG"),
        ("LABKIT_MODULES", "LABKIT_JOB_MODULES"),
    ],
)
def test_an_unknown_labkit_variable_is_an_error_that_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: "1"})
    assert name in str(error.value)
    assert nearest in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LABKIT_CLIENT_PORT", "70000", "from 1 to 65535"),
        ("LABKIT_CLIENT_PORT", "http", "from 1 to 65535"),
        ("LABKIT_SLOTS", "0", "from 1 to 64"),
        ("LABKIT_SLOTS", "1_0", "from 1 to 64"),
        ("LABKIT_DEAD_S", "1_0", "greater than 0"),
        ("LABKIT_MAX_CRASHES", "2.5", "whole number, 1 or more"),
        ("LABKIT_HEARTBEAT_S", "0", "greater than 0"),
        ("LABKIT_HEARTBEAT_S", "nan", "greater than 0"),
        ("LABKIT_LEASE_S", "inf", "greater than 0"),
        ("LABKIT_LANG", "fr", "es or en"),
        ("LABKIT_CLUSTER", "../../etc", "a name"),
        ("WORKER_ID", "worker one", "a name"),
        ("WORKER_ID", "w" * 65, "a name"),
        ("LABKIT_JOB_MODULES", "labkit.jobs,work/day3.py", "Python modules"),
        ("LABKIT_BROKER", "127.0.0.1:5556", "tcp://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("LABKIT_HOST", "tcp://127.0.0.1", "without a port"),
        ("LABKIT_HOST", "127.0.0.1:5555", "without a port"),
        ("LABKIT_HOST", "::1", "IPv4"),
        ("LABKIT_HOST", "a\x1b[31m", "IPv4"),
        ("LABKIT_POLICY", "work/mine.py", "work/mine.py"),
        ("WORKER_CAPABILITIES", "resize blur", "with commas"),
        ("WORKER_CAPABILITIES", "resize,\x1b[31m", "with commas"),
        ("LABKIT_KEYS", "~no-such-user/keys", "write the whole path"),
    ],
)
def test_a_bad_value_is_an_error_that_names_variable_value_and_expectation(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({name: value})
    assert f"{name}={value!r}" in str(error.value)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "other", ["LABKIT_WORKER_PORT", "LABKIT_REDIS_PORT", "LABKIT_API_PORT", "LABKIT_LAB_PORT"]
)
def test_two_equal_ports_are_refused(other: str) -> None:
    with pytest.raises(SettingsError, match=f"LABKIT_CLIENT_PORT and {other} are both 6001"):
        Settings.from_environment({"LABKIT_CLIENT_PORT": "6001", other: "6001"})


def test_rules_that_would_lose_every_worker_are_refused() -> None:
    with pytest.raises(SettingsError, match="each must be less than the next"):
        Settings.from_environment({"LABKIT_DEAD_S": "0.2"})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().host = "0.0.0.0"  # type: ignore[misc]


def test_a_tilde_in_the_home_folder_is_the_users_home() -> None:
    assert Settings.from_environment({"LABKIT_HOME": "~/lab"}).home == Path.home() / "lab"


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("5ecret\n")
    assert Settings(token_file=tmp_path / "token").token() == "5ecret"
    assert Settings().token() is None


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"\xff\xfe"], ids=["missing", "empty", "blank", "binary"]
)
def test_a_token_file_without_a_token_is_an_error_that_names_it(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        Settings(token_file=path).token()
    assert "LABKIT_TOKEN_FILE" in str(error.value)
    assert str(path) in str(error.value)
