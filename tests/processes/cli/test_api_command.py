"""The HTTP side as a process of a cluster: up starts it, commands act on it, ``api`` serves by hand."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from labkit.cluster import api_side
from labkit.cluster.ports import VARIABLES
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import InvalidInput
from tests.tools.command_line import ROOT, Commands, command, free_ports
from tests.tools.waiting import wait_until

MOST_MIB = 90


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def api_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port for the HTTP side of a cluster of this test; one still running at the end is taken down."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    chosen = free_ports()
    for variable, port in chosen.items():
        monkeypatch.setenv(variable, port)
    yield int(chosen["LABKIT_API_PORT"])
    if RunFolder.of(tmp_path, "default").read_state() is not None:
        command("down").communicate(timeout=30)


class Answer(NamedTuple):
    status: int
    body: Any


def ask(port: int, method: str, path: str, body: Any = None, token: str = "") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def process(lab: Commands, name: str = "api") -> dict[str, Any] | None:
    rows = lab.done("status", "--json").json()["processes"]
    return next((row for row in rows if row["name"] == name), None)


def test_clusters_started_in_the_same_instant_have_ports_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    names = ("one", "other")
    starting = {name: command("up", "--name", name, "--workers", "0", "--json") for name in names}
    try:
        told = {}
        for name, process in starting.items():
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            told[name] = json.loads(out)
        one, other = (set(told[name]["ports"].values()) | {told[name]["api_port"]} for name in names)
        assert len(one) == len(other) == 5 and not one & other
        for name in names:
            with urllib.request.urlopen(f"{told[name]['api_url']}/", timeout=30) as page:
                assert page.status == 200
            with urllib.request.urlopen(f"{told[name]['api_url']}/api/dashboard/", timeout=30) as stream:
                assert stream.readline() == b"event: moment\r\n"
                assert f'"cluster":"{name}"' in stream.readline().decode()
    finally:
        for name in names:
            command("down", "--name", name).communicate(timeout=60)


def test_up_starts_it_and_commands_act_on_it(lab: Commands, api_port: int) -> None:
    said = lab.done("up", "--workers", "1", "--json").json()
    assert (said["api_port"], said["api_url"]) == (api_port, f"http://localhost:{api_port}")
    assert ask(api_port, "GET", "/api/health/").body["workers_ready"] == 1
    status = lab.done("status", "--json").json()
    assert status["api_url"] == said["api_url"]
    assert f"HTTP {said['api_url']}/" in lab.done("status").out
    row = process(lab)
    assert row is not None and (row["kind"], row["state"]) == ("api", "running")
    used = psutil.Process(row["pid"]).memory_full_info()
    print(f"the HTTP side uses {used.pss / 2**20:.0f} MiB")
    assert used.pss < MOST_MIB << 20

    # The token lets a caller change something.
    token = lab.done("api", "--show-token").out.strip()
    assert ask(api_port, "POST", "/api/cluster/scale/", {"workers": 1}).status == 401
    assert ask(api_port, "POST", "/api/cluster/scale/", {"workers": 1}, token).body == {
        "workers": ["worker-1"]
    }

    # It does not end itself: its own page could not start it again.
    itself = ask(api_port, "POST", "/api/workers/api/kill/", token=token)
    assert itself.status == 409 and "python -m labkit kill api" in itself.body["next"]

    # A second one of the same cluster is not started.
    assert f"{said['api_url']}/docs" in lab.done("api").out
    assert "--api-port" in lab.refused("api", "--port", 1234, code=1)

    # It ends by itself: the supervisor starts it again.
    os.kill(row["pid"], signal.SIGKILL)
    wait_until(lambda: (process(lab) or {})["restarts"] == 1, 10.0, "the restart")
    wait_until(lambda: api_side.answers(api_port), 30.0, "the HTTP side")

    # Killed by command it stays down, and the cluster is well.
    assert "works without it" in lab.done("kill", "api").out
    assert not api_side.answers(api_port)
    assert "start api" in lab.done("status").out
    assert "start api" in lab("up").err
    assert "start api" in lab.refused("api", code=1)
    assert "api is up again" in lab.done("start", "api").out
    assert ask(api_port, "GET", "/api/health/").status == 200
    assert "serving on port" in lab.done("logs", "api").out

    # A stop is polite.
    assert "api is down" in lab.done("stop", "api").out
    stopped = process(lab)
    assert stopped is not None and (stopped["state"], stopped["last_exit"]) == ("stopped", "exit 0")
    lab.done("start", "api")
    running = process(lab)
    assert running is not None
    lab.done("down")
    assert not psutil.pid_exists(running["pid"])


def test_without_it_the_cluster_is_as_before_and_api_serves_by_hand(lab: Commands, api_port: int) -> None:
    said = lab.done("up", "--workers", "1", "--no-api", "--json").json()
    assert (said["api_port"], said["api_url"]) == (None, None)
    assert process(lab) is None and not api_side.answers(api_port)
    assert "HTTP" not in lab.done("status").out
    assert "unknown" in lab.refused("kill", "api", code=2)
    token = lab.done("api", "--show-token").out.strip()
    serving = subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit", "api", "--port", str(api_port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: api_side.answers(api_port), 30.0, "the HTTP side")
        assert ask(api_port, "POST", "/api/cluster/scale/", {"workers": 1}, token).status == 200
    finally:
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=20)
    assert (serving.returncode, err) == (0, "")
    assert f"http://localhost:{api_port}/" in out


def test_a_port_that_is_taken_keeps_no_cluster_from_starting(lab: Commands, api_port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", api_port))
        taken.listen(1)
        said = lab("up", "--workers", "1")
    assert said.code == 0 and "is up, with 1 worker" in said.out
    assert said.err.count("\n") == 1 and str(api_port) in said.err and "without its HTTP side" in said.err
    assert process(lab) is None


def test_a_missing_package_keeps_no_cluster_from_starting(
    lab: Commands, api_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_side, "PACKAGES", ("no_such_package",))
    said = lab("up", "--workers", "1")
    assert said.code == 0 and "is up, with 1 worker" in said.out
    assert said.err.count("\n") == 1 and "no_such_package" in said.err
    assert process(lab) is None
    assert "no_such_package" in lab.refused("api", code=1)


def test_an_option_chooses_its_port_and_may_not_be_anothers(lab: Commands, api_port: int) -> None:
    clients = os.environ["LABKIT_CLIENT_PORT"]
    assert "each needs a port of its own" in lab.refused("up", "--api-port", clients, code=2)
    os.environ.pop("LABKIT_API_PORT")
    said = lab.done("up", "--workers", "0", "--api-port", api_port, "--json").json()
    assert said["api_port"] == api_port
    assert ask(api_port, "GET", "/api/health/").body["status"] == "degraded"


def test_it_waits_for_a_broker_that_is_down(lab: Commands, api_port: int) -> None:
    lab.done("up", "--workers", "0")
    lab.done("kill", "broker")
    row = process(lab)
    assert row is not None
    os.kill(row["pid"], signal.SIGKILL)
    wait_until(lambda: (process(lab) or {})["state"] == "running", 10.0, "the restart")
    lab.done("start", "broker")
    wait_until(lambda: api_side.answers(api_port), 40.0, "the HTTP side")


def test_a_private_cluster_has_none() -> None:
    from labkit import open_cluster

    with open_cluster(0, redis=False) as cluster:
        assert cluster.api_url is None
        assert "api" not in {row["kind"] for row in cluster.status()["processes"]}
        cluster.wait_for_api()
        with pytest.raises(InvalidInput):
            cluster.kill("api")
