"""The environments of a cluster's processes: the settings that each needs, and no others."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.local import plan as plans
from labkit.cluster.options import ClusterOptions
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import BackendMissing, InvalidInput, SettingsError
from labkit.core.protocol.rules import Rules
from labkit.security.key_store import BROKER, CLIENT, LOCAL, WORKER, KeyFolder
from labkit.support.settings import Settings

PORTS = {"client": 6001, "worker": 6002, "event": 6003, "redis": 6004}
HOME = Path("/home/of/tests")


@pytest.fixture(autouse=True)
def _a_redis_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "server_command", lambda port, folder: ["redis", "--port", str(port)])


def make_plan(settings: Settings | None = None, **options: Any) -> dict[str, Any]:
    folder = RunFolder(HOME / "clusters" / "test")
    private = options.pop("private", True)
    ports = {**PORTS, **options.pop("more_ports", {})}
    wanted = ClusterOptions(**options)
    plan = plans.make_plan(folder, "test", settings or Settings(home=HOME), ports, wanted, private=private)
    again: dict[str, Any] = json.loads(json.dumps(plan))  # it has to travel as JSON
    return again


def settings_of(plan: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings that a process reads from its environment."""
    for name in list(os.environ):
        if name.startswith("LABKIT_"):
            monkeypatch.delenv(name)
    return Settings.from_environment({"LABKIT_HOME": str(HOME), **plan[part]["environment"]})


def test_broker_and_workers_find_each_other_and_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    broker = settings_of(plan, "broker", monkeypatch)
    worker = settings_of(plan, "worker", monkeypatch)
    assert (broker.client_port, broker.worker_port, broker.event_port) == (6001, 6002, 6003)
    assert worker.broker_addresses() == ("tcp://127.0.0.1:6002",)
    assert broker.token_file == worker.token_file == HOME / "clusters" / "test" / "token"
    assert broker.folder == HOME / "clusters" / "test"
    assert plan["about"]["address"] == "tcp://127.0.0.1:6001"


def test_rules_that_are_not_the_usual_ones_reach_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules(heartbeat_s=0.1, suspect_s=0.2, dead_s=0.4, max_crashes=2)
    plan = make_plan(Settings(home=HOME, rules=rules))
    assert settings_of(plan, "broker", monkeypatch).rules == rules
    assert settings_of(plan, "worker", monkeypatch).rules == rules


def test_the_cluster_has_a_redis_of_its_own_unless_the_user_has_one() -> None:
    own = make_plan()
    assert own["redis"]["command"][-3:] == ["redis", "--port", "6004"]
    assert (
        own["broker"]["environment"]["REDIS_URL"] == own["about"]["redis_url"] == "redis://127.0.0.1:6004/0"
    )
    users = make_plan(Settings(home=HOME, redis_url="redis://elsewhere:6379/1"))
    assert users["redis"] is None
    assert users["broker"]["environment"]["REDIS_URL"] == "redis://elsewhere:6379/1"


def test_without_redis_the_mirror_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(port: int, folder: Path) -> list[str]:
        raise BackendMissing("there is no Redis server on this machine")

    assert make_plan(redis=False)["about"]["redis_url"] is None
    users = make_plan(Settings(home=HOME, redis_url="redis://elsewhere:6379/1"), redis=False)
    assert users["about"]["redis_url"] is None, "without a mirror is without any"
    monkeypatch.setattr(plans, "server_command", missing)
    plan = make_plan()
    assert (plan["redis"], plan["about"]["redis_url"]) == (None, None)
    assert plan["broker"]["environment"]["REDIS_URL"] == ""


def test_an_http_side_finds_its_cluster_by_name_and_has_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "api" not in make_plan(), "a port for it is the sign that there is one"
    plan = make_plan(private=False, more_ports={"api": 6005})
    api = settings_of(plan, "api", monkeypatch)
    assert (api.cluster, api.backend, api.home, api.api_port) == ("test", "local", HOME, 6005)
    assert plan["api"]["command"] == [sys.executable, "-P", "-m", "labkit.gateway"]
    assert plan["about"]["ports"]["api"] == 6005
    assert not {"LABKIT_TOKEN_FILE", "REDIS_URL"} & plan["api"]["environment"].keys(), (
        "both are in the folder"
    )


def test_worker_does_not_learn_where_redis_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/1")
    monkeypatch.setenv("WORKER_ID", "worker-7")
    monkeypatch.setenv("LABKIT_TOKEN_FILE", "/somewhere/else")
    settings = Settings(home=HOME, redis_url="redis://elsewhere:6379/1")
    variables = {**plans.environment(settings), **make_plan(settings)["worker"]["environment"]}
    assert "REDIS_URL" not in variables and "WORKER_ID" not in variables
    assert variables["LABKIT_TOKEN_FILE"] == str(HOME / "clusters" / "test" / "token")


def test_capabilities_are_common_or_by_worker() -> None:
    alike = make_plan(capabilities=["resize", "blur"])["worker"]
    assert alike["environment"]["WORKER_CAPABILITIES"] == "resize,blur"
    each = make_plan(capabilities={"worker-2": ["blur"]})["worker"]
    assert "WORKER_CAPABILITIES" not in each["environment"]
    assert each["own"] == {"worker-2": {"WORKER_CAPABILITIES": "blur"}}
    from_settings = make_plan(Settings(home=HOME, worker_capabilities=("edges",)))["worker"]
    assert from_settings["environment"]["WORKER_CAPABILITIES"] == "edges"


def test_labkit_is_found_from_any_folder_but_not_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/the/user")
    path = plans.environment(Settings(home=HOME))["PYTHONPATH"].split(os.pathsep)
    assert (Path(path[0]) / "labkit" / "cluster").is_dir() and (Path(path[0]) / "workers").is_dir()
    assert path[1:] == ["/of/the/user"]
    assert make_plan()["worker"]["command"] == [sys.executable, "-P", "-m", "workers"]


def test_a_workers_libraries_do_not_fight_over_the_cores() -> None:
    environment = make_plan()["worker"]["environment"]
    assert environment["OPENBLAS_NUM_THREADS"] == environment["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("workers", [-1, 257])
def test_an_impossible_number_of_workers_is_refused(workers: int) -> None:
    with pytest.raises(InvalidInput, match="cannot have"):
        make_plan(workers=workers)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    for role, name in ((BROKER, BROKER), (CLIENT, LOCAL), (WORKER, LOCAL)):
        folder.add(role, name, ("0" * 40, "1" * 40))
    return folder


def test_a_cluster_that_others_can_reach_uses_its_keys(
    keys: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(Settings(home=HOME, host="0.0.0.0", keys=keys.path))
    for part in ("broker", "worker"):
        read = settings_of(plan, part, monkeypatch)
        assert (read.keys, read.key, read.token_file) == (keys.path, LOCAL, None)
    assert plan["about"]["keys"] == str(keys.path)


def test_a_cluster_on_loopback_uses_its_secret_whatever_keys_there_are(keys: KeyFolder) -> None:
    plan = make_plan(Settings(home=HOME, keys=keys.path))
    assert "LABKIT_KEYS" not in plan["broker"]["environment"] and plan["about"]["keys"] is None


def test_a_cluster_that_others_could_reach_needs_complete_keys(keys: KeyFolder) -> None:
    with pytest.raises(SettingsError, match="keys make"):
        make_plan(Settings(home=HOME, host="0.0.0.0"))
    keys.remove(WORKER, LOCAL)
    with pytest.raises(SettingsError, match=r"no secret key .*keys add worker"):
        make_plan(Settings(home=HOME, host="0.0.0.0", keys=keys.path))
