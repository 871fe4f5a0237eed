"""The commands of a background cluster, on a real one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.cli import output
from labkit.cluster import connect
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import BrokerUnreachable
from labkit.mirror.redis_client import open_client
from labkit.mirror.server import find_binary
from labkit.support import process_groups
from tests.tools.command_line import ROOT, Commands, background_cluster, command, free_ports
from tests.tools.redis_server import RedisServer
from tests.tools.waiting import require, wait_until


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a running cluster of three workers, for tests that leave it unchanged."""
    home = tmp_path_factory.mktemp("home")
    with background_cluster(home):
        yield home


@pytest.fixture
def cluster(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(home))
    return home


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for one test; a cluster still running there at the end is taken down."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    for variable, port in free_ports().items():
        monkeypatch.setenv(variable, port)
    yield tmp_path
    if RunFolder.of(tmp_path, "default").read_state() is not None:
        command("down").communicate(timeout=30)


def worker(lab: Commands, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        row for row in lab.done("status", "--json").json()["workers"] if row["name"] == name
    )
    return found


def next_commands(out: str) -> list[str]:
    return re.findall(rf"^  {re.escape(output.call())} (\w+(?: \S+)*)", out, re.MULTILINE)


# --- up, status, down ---


def test_cluster_comes_up_shows_its_addresses_and_goes_down(lab: Commands, own_home: Path) -> None:
    said = lab.done("up", "--workers", "1", "--json").json()
    assert said["started_now"] is True and said["workers"] == ["worker-1"]
    assert set(said["ports"]) == {"client", "worker", "event", "redis"}
    status = lab.done("status", "--json").json()
    assert status["up"] is True and status["address"] == said["address"]
    assert [row["status"] for row in status["workers"]] == ["ready"]
    down = lab.done("down")
    events = own_home / "clusters" / "default" / "events.jsonl"
    assert str(events) in down.out and events.exists()
    assert "'default'" in lab.refused("down", code=1)


def test_second_up_finds_the_same_cluster(lab: Commands, cluster: Path) -> None:
    before = lab.done("status", "--json").json()
    said = lab.done("up", "--workers", "5")
    assert "already" in said.out and "scale 5" in next_commands(said.out)
    again = lab.done("up", "--json").json()
    assert again["started_now"] is False and again["address"] == before["address"]
    assert [row["pid"] for row in lab.done("status", "--json").json()["workers"]] == [
        row["pid"] for row in before["workers"]
    ]


def test_up_with_another_policy_names_the_running_policy(lab: Commands, cluster: Path) -> None:
    line = lab.refused("up", "--policy", "round_robin", code=1)
    assert "least_busy" in line and f"{output.call()} down" in line
    lab.done("up", "--policy", "least_busy")


def test_up_ends_the_processes_of_a_crashed_cluster(lab: Commands, own_home: Path) -> None:
    lab.done("up", "--workers", "1")
    pids = RunFolder.of(own_home, "default").read_state()["processes"]  # type: ignore[index]
    os.kill(pids["supervisor"][0], process_groups.KILL)
    folder = RunFolder.of(own_home, "default")
    wait_until(lambda: folder.running() is None, what="the supervisor to be dead")
    assert "crashed" in lab.refused("status", code=1)
    assert "Its history" not in (said := lab("down")).out and said.code == 0
    assert lab.done("up", "--workers", "1", "--json").json()["started_now"] is True


def test_commands_go_to_the_named_cluster(
    lab: Commands, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = lab.done("up", "--name", "second", "--workers", "0")
    assert "down --name second" in [words.partition("   ")[0] for words in next_commands(said.out)]
    assert "'default'" in lab.refused("status", code=1)
    monkeypatch.setenv("LABKIT_CLUSTER", "second")
    assert lab.done("status").out.startswith("second: 0 of 0")
    lab.done("down")


def test_requested_port_in_use_is_named(
    lab: Commands, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(os, "environ", os.environ.copy())  # `up` writes its options there
        assert str(taken) in lab.refused("up", "--client-port", taken, code=1)
    assert RunFolder.of(own_home, "default").read_state() is None


def test_interrupted_up_leaves_no_process(own_home: Path) -> None:
    folder = RunFolder.of(own_home, "default")
    starting = command("up", "--workers", "2")
    wait_until(folder.read_state, 20.0, "the supervisor to begin")
    starting.send_signal(signal.SIGINT)
    out, err = starting.communicate(timeout=20)
    assert (out, err) == ("", "") or "is up" in out  # or the signal came just too late
    if not out:
        assert starting.returncode == 130
        wait_until(lambda: folder.read_state() is None, what="the folder to be tidied")


def test_status_is_a_table(lab: Commands, cluster: Path) -> None:
    out = lab.done("status").out
    assert "default: 3 of 3 workers ready" in out
    assert len(re.findall(r"^worker-\d  ready", out, re.MULTILINE)) == 3


# --- faults ---


def test_a_worker_is_killed_and_started(lab: Commands, cluster: Path) -> None:
    before = worker(lab, "worker-2")
    killed = lab.done("kill", "worker-2")
    assert "The broker noticed after" in killed.out
    assert next_commands(killed.out)[0].startswith("start worker-2")
    assert worker(lab, "worker-2")["process"] == "killed"
    assert "start worker-2" in lab.refused("kill", "worker-2", code=1)
    started = lab.done("start", "worker-2")
    assert "up again" in started.out
    after = worker(lab, "worker-2")
    assert after["status"] in ("ready", "busy") and after["pid"] != before["pid"]
    assert "running already" in lab.refused("start", "worker-2", code=1)


def test_worker_is_frozen_and_resumes(lab: Commands, cluster: Path) -> None:
    assert "resume worker-1" in lab.done("pause", "worker-1").out
    assert worker(lab, "worker-1")["process"] == "paused"
    assert "resume worker-1" in lab.refused("pause", "worker-1", code=1)
    lab.done("resume", "worker-1")
    wait_until(lambda: worker(lab, "worker-1")["status"] == "ready", 10.0, "worker-1 to be back")


def test_a_worker_is_stopped_politely(lab: Commands, cluster: Path) -> None:
    assert "finished its tasks" in lab.done("stop", "worker-3").out
    assert worker(lab, "worker-3")["last_exit"] == "exit 0"
    lab.done("start", "worker-3")


def test_the_broker_is_killed_and_started(lab: Commands, cluster: Path) -> None:
    assert "Nothing is lost" in lab.done("kill", "broker").out
    assert f"{output.call()} start broker" in lab.done("status").out
    lab.done("start", "broker")
    wait_until(lambda: "3 of 3 workers ready" in lab.done("status").out, 10.0, "the workers to be back")


@pytest.mark.parametrize(("fault", "mend"), [("pause", "resume"), ("stop", "start"), ("kill", "start")])
def test_commands_that_need_the_broker_show_its_recovery_command(
    lab: Commands, cluster: Path, fault: str, mend: str
) -> None:
    lab.done(fault, "broker")
    try:
        with connect() as handle, pytest.raises(BrokerUnreachable, match=f"{mend} broker"):
            handle.client(connect_timeout_s=0.1)
    finally:
        lab.done(mend, "broker")
    wait_until(lambda: "3 of 3 workers ready" in lab.done("status").out, 10.0, "the workers to be back")


@pytest.mark.parametrize(("fault", "mend"), [("pause", "resume"), ("kill", "start")])
def test_commands_that_need_redis_show_its_recovery_command(
    lab: Commands, cluster: Path, fault: str, mend: str
) -> None:
    require(lab.done("status", "--json").json()["redis_url"], "a Redis server")
    lab.done(fault, "redis")
    try:
        assert f"{output.call()} {mend} redis" in lab.refused("redis", "PING", code=1)
        line = lab.refused("redis", "--name", "default", "PING", code=1)
        assert f"{output.call()} {mend} redis --name default" in line
    finally:
        lab.done(mend, "redis")


def test_unknown_worker_is_named_with_the_existing_ones(lab: Commands, cluster: Path) -> None:
    line = lab.refused("kill", "worker-9", code=2)
    assert "'worker-9'" in line and "worker-3" in line


# --- scale, logs, redis, doctor ---


def test_the_cluster_grows_and_shrinks(lab: Commands, cluster: Path) -> None:
    assert "4 workers now" in lab.done("scale", "4").out
    shrunk = lab.done("scale", "3")
    assert "worker-4" in shrunk.out.split("Leaving")[1]
    wait_until(lambda: len(lab.done("status", "--json").json()["workers"]) == 3, 20.0, "worker-4 to leave")
    assert "1000" in lab.refused("scale", "1000", code=2)


def test_a_worker_that_is_down_does_not_finish_its_tasks_when_it_is_scaled_away(
    lab: Commands, cluster: Path
) -> None:
    lab.done("scale", "5")
    lab.done("kill", "worker-4")
    lab.done("stop", "worker-5")
    shrunk = lab.done("scale", "3").out
    assert "Leaving" not in shrunk
    assert "they were down already: worker-4, worker-5." in shrunk
    lab.done("scale", "5")
    lab.done("kill", "worker-5")
    mixed = lab.done("scale", "3").out
    assert "their current tasks: worker-4." in mixed and "they were down already: worker-5." in mixed
    wait_until(lambda: len(lab.done("status", "--json").json()["workers"]) == 3, 20.0, "worker-4 to leave")


@pytest.mark.parametrize(("fault", "mend"), [("pause", "resume"), ("kill", "start")])
def test_scale_works_without_the_broker_and_names_it(
    lab: Commands, cluster: Path, fault: str, mend: str
) -> None:
    lab.done(fault, "broker")
    try:
        said = lab.done("scale", "3")
        assert "The cluster has 3 workers now" in said.out and "the workers wait for it" in said.out
        assert next_commands(said.out)[0] == f"{mend} broker"
        lab.done("kill", "worker-1")
        assert next_commands(lab.done("start", "worker-1").out)[0] == f"{mend} broker"
    finally:
        lab.done(mend, "broker")
    wait_until(lambda: "3 of 3 workers ready" in lab.done("status").out, 20.0, "the workers to be back")


def test_the_logs_are_shown_and_followed(lab: Commands, cluster: Path) -> None:
    assert "worker-1 started" in lab.done("logs", "worker-1").out
    following = command("logs", "worker-1", "--follow", "--lines", "1")
    assert following.stdout is not None
    assert following.stdout.readline()
    lab.done("kill", "worker-1")
    lab.done("start", "worker-1")
    told = iter(following.stdout.readline, "")  # the worker's own lines may come in between
    assert any("worker-1 started" in line for line in told)
    following.send_signal(signal.SIGINT)
    _out, err = following.communicate(timeout=10)
    assert (following.returncode, err) == (130, "")


def test_a_redis_of_the_users_own_has_its_log_elsewhere_and_its_password_nowhere(
    lab: Commands, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://ana:hunter2@127.0.0.1:1/0")
    said = [lab.done("up", "--workers", "1").out, lab.done("status").out, lab.done("status", "--json").out]
    line = lab.refused("logs", "redis", code=2)
    assert "redis://***@127.0.0.1:1/0 (REDIS_URL), which it has not started" in line and "PING" in line
    assert "has not started this server" in lab.refused("redis", "PING", code=1)
    for fault in ("kill", "pause", "resume", "stop", "start"):
        refused = lab.refused(fault, "redis", code=2)
        assert (
            f"redis://***@127.0.0.1:1/0 (REDIS_URL), which it has not started, so it cannot {fault}"
            in refused
        )
    log = RunFolder.of(own_home, "default").log_file("broker")
    wait_until(lambda: "unreachable" in log.read_text(), 10.0, "the mirror's complaint")
    for process in psutil.process_iter(["cmdline"]):
        said += process.info["cmdline"] or []
    assert not any("hunter2" in text for text in (*said, line, log.read_text()))


def test_redis_answers_without_redis_cli(lab: Commands, cluster: Path) -> None:
    require(lab.done("status", "--json").json()["redis_url"], "a Redis server")

    def workers() -> set[str]:
        out, _err = command("redis", "HKEYS", "workers").communicate(timeout=20)
        return set(out.split())

    wait_until(
        lambda: workers() >= {"worker-1", "worker-2", "worker-3"}, 10.0, "the mirror to show all three"
    )


def test_doctor_names_the_cluster_that_uses_a_port(lab: Commands, cluster: Path) -> None:
    checks = lab("doctor", "--json").json()["checks"]
    assert "running: default" in [check["found"] for check in checks if check["check"] == "cluster"]


# --- broker ---


def test_broker_without_mirror_serves_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    ports = free_ports()
    environ = {
        **os.environ,
        **ports,
        "LABKIT_TOKEN_FILE": str(tmp_path / "token"),
        "LABKIT_FOLDER": str(tmp_path),
    }
    serving = command("broker", env=environ)
    wait_until((tmp_path / "broker.json").exists, 20.0, "the broker to serve")
    second = command("broker", env={**environ, "LABKIT_FOLDER": ""})
    _out, err = second.communicate(timeout=20)
    assert second.returncode == 73 and "Traceback" not in err and ports["LABKIT_CLIENT_PORT"] in err
    serving.send_signal(signal.SIGINT)
    _out, err = serving.communicate(timeout=20)
    assert serving.returncode == 0 and "Traceback" not in err


def test_stopping_broker_removes_its_mirror_from_redis(tmp_path: Path) -> None:
    require(find_binary(), "a Redis server")
    (tmp_path / "token").write_text("secret")
    ports = free_ports()
    port = int(ports["LABKIT_REDIS_PORT"])
    with RedisServer.start(port, tmp_path, tmp_path / "redis.log") as redis:
        client = open_client(redis.url, 5.0)
        environ = {
            **os.environ,
            **ports,
            "LABKIT_TOKEN_FILE": str(tmp_path / "token"),
            "LABKIT_FOLDER": str(tmp_path),
            "REDIS_URL": redis.url,
        }
        serving = command("broker", env=environ)
        address = f"tcp://127.0.0.1:{ports['LABKIT_WORKER_PORT']}"
        worker = subprocess.Popen(
            [sys.executable, "-m", "workers"],
            cwd=ROOT,
            env={**environ, "LABKIT_BROKER": address, "WORKER_ID": "worker-1", "REDIS_URL": ""},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: client.hexists("workers", "worker-1"), 20.0, "the worker to be shown")
            # A second broker that does not get the ports has no mirror to remove.
            second = command("broker", env={**environ, "LABKIT_FOLDER": ""})
            second.communicate(timeout=20)
            assert second.returncode == 73 and client.hexists("workers", "worker-1")
            serving.send_signal(signal.SIGTERM)
            serving.communicate(timeout=20)
            assert serving.returncode == 0
            assert client.exists("workers") == 0
        finally:
            client.close()
            worker.kill()
            worker.wait()


def test_up_counts_the_workers_that_are_up(lab: Commands, own_home: Path) -> None:
    lab.done("up", "--workers", "3")
    lab.done("kill", "worker-2")
    said = lab.done("up")
    assert said.out.startswith("The cluster 'default' is up; 2 of 3 workers are ready.\n")
    assert next_commands(said.out)[0].startswith("start worker-2")
    assert "kill worker-3" in said.out, "what can be broken is one that is up"
    as_json = lab.done("up", "--json").json()
    assert (as_json["workers"], as_json["ready"]) == (
        ["worker-1", "worker-2", "worker-3"],
        ["worker-1", "worker-3"],
    )
    lab.done("pause", "broker")
    said = lab.done("up")
    assert "0 of 3 workers are ready" in said.out and "resume broker" in said.out
