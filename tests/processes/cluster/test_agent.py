"""The agent, the parent of a container's one process, tried without a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster import Cluster
from labkit.cluster.compose import agent, inside
from labkit.cluster.compose.inside import InsideBackend
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor import control
from labkit.core.errors import ClusterError
from labkit.support.settings import Settings
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until

SLEEPS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
time.sleep(600)
"""

Agent = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Agent]:
    """Return a function that starts an agent with a Python program; all of them end with the test."""
    require(sys.platform != "win32", "Unix sockets")
    started: list[subprocess.Popen[str]] = []

    def _start(program: str = SLEEPS, role: str = "worker", **environ: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-P",
            "-m",
            "labkit.cluster.compose.agent",
            role,
            sys.executable,
            "-c",
            program,
        ]
        env = {**os.environ, "LABKIT_CONTROL": str(tmp_path), "WORKER_ID": "worker-7", **environ}
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield _start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


def ask(folder: Path, do: str, **parameters: Any) -> Any:
    return control.ask(folder / "worker-7.sock", "", do, **parameters)


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def test_the_container_gets_the_output_and_exit_code_of_the_process(start: Agent) -> None:
    process = start("import sys; print('hello', flush=True); sys.exit(75)")
    wait_for_line(process, "hello")
    assert process.wait(10) == 75


def test_a_crash_ends_the_container_with_a_shells_exit_code(start: Agent) -> None:
    process = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(10) == 128 + signal.SIGKILL


def test_sigterm_stops_the_process_and_ends_the_agent_with_0(start: Agent) -> None:
    process = start()
    wait_for_line(process, "up")
    process.terminate()
    assert process.wait(10) == 0


def test_a_process_killed_by_the_lab_stays_down_until_it_is_started(start: Agent, tmp_path: Path) -> None:
    process = start()
    wait_for_line(process, "up")
    before = ask(tmp_path, "status")
    assert (before["name"], before["kind"], before["state"]) == ("worker-7", "worker", "running")
    ask(tmp_path, "act", fault="kill")
    killed = ask(tmp_path, "status")
    assert (killed["state"], killed["last_exit"], killed["pid"]) == ("killed", "SIGKILL", None)
    with pytest.raises(ClusterError, match="worker-7 is killed: pause does not apply"):
        ask(tmp_path, "check", fault="pause")
    assert process.poll() is None, "the container goes on, so that the lab can start the process"
    ask(tmp_path, "act", fault="start")
    wait_for_line(process, "up")
    assert ask(tmp_path, "status")["pid"] not in (None, before["pid"])


def test_a_frozen_process_goes_on_and_a_stopped_one_ends_politely(start: Agent, tmp_path: Path) -> None:
    wait_for_line(start(), "up")
    ask(tmp_path, "act", fault="pause")
    assert ask(tmp_path, "status")["state"] == "paused"
    ask(tmp_path, "act", fault="resume")
    ask(tmp_path, "act", fault="stop", timeout_s=10.0)
    stopped = ask(tmp_path, "status")
    assert (stopped["state"], stopped["last_exit"]) == ("stopped", "exit 0")


def test_the_host_reaches_the_agent_with_the_option_ask(
    start: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for_line(start(), "up")
    monkeypatch.setenv("LABKIT_CONTROL", str(tmp_path))
    assert agent.main(["--ask", "worker-7", "start"]) == 1
    assert capsys.readouterr().err == "worker-7 is running: start does not apply\n"
    assert agent.main(["--ask", "worker-7", "pause"]) == 0
    assert agent.main(["--ask", "worker-7", "resume"]) == 0


def test_only_the_owner_may_open_the_control_socket(start: Agent, tmp_path: Path) -> None:
    wait_for_line(start(), "up")
    assert (tmp_path / "worker-7.sock").stat().st_mode & 0o077 == 0


def test_a_worker_without_a_name_is_named_after_its_container(start: Agent, tmp_path: Path) -> None:
    wait_for_line(
        start("import os; print(os.environ['WORKER_ID'], flush=True)", WORKER_ID=""),
        f"worker-{os.uname().nodename}",
    )


def test_a_new_agent_replaces_the_socket_of_a_killed_one(start: Agent, tmp_path: Path) -> None:
    first = start()
    wait_for_line(first, "up")
    child = ask(tmp_path, "status")["pid"]
    first.kill()
    first.wait(10)
    os.kill(child, signal.SIGKILL)
    wait_for_line(start(), "up")
    assert ask(tmp_path, "status")["state"] == "running"


def test_an_elastic_workers_agent_removes_its_socket_when_it_ends(start: Agent, tmp_path: Path) -> None:
    elastic, named = start(WORKER_ID=""), start()
    wait_for_line(elastic, "up")
    wait_for_line(named, "up")
    sockets = {f"worker-{os.uname().nodename}.sock", "worker-7.sock"}
    assert {path.name for path in tmp_path.iterdir()} == sockets
    for process in (elastic, named):
        process.terminate()
        assert process.wait(10) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["worker-7.sock"], "it is known as stopped"


def test_an_elastic_workers_agent_removes_sockets_of_killed_agents(start: Agent, tmp_path: Path) -> None:
    alive, killed = start(WORKER_ID="worker-a"), start(WORKER_ID="worker-b")
    wait_for_line(alive, "up")
    wait_for_line(killed, "up")
    child = control.ask(tmp_path / "worker-b.sock", "", "status")["pid"]
    killed.kill()
    killed.wait(10)
    os.kill(child, signal.SIGKILL)
    assert (tmp_path / "worker-b.sock").exists()
    wait_for_line(start(WORKER_ID=""), "up")
    assert not (tmp_path / "worker-b.sock").exists()
    assert control.ask(tmp_path / "worker-a.sock", "", "status")["state"] == "running"


def test_the_lab_shows_an_agent_that_does_not_answer_as_stopped(start: Agent, tmp_path: Path) -> None:
    wait_for_line(start(WORKER_ID="worker-1"), "up")
    gone = start(WORKER_ID="worker-2")
    wait_for_line(gone, "up")
    child = control.ask(tmp_path / "worker-2.sock", "", "status")["pid"]
    gone.kill()
    gone.wait(10)
    os.kill(child, signal.SIGKILL)
    secret = tmp_path / "token"
    secret.write_text("secret", encoding="ascii")
    cluster = Cluster(InsideBackend(Settings(control=tmp_path, folder=tmp_path, token_file=secret)))
    states = {row["name"]: row["state"] for row in cluster.status()["processes"]}
    assert states == {"worker-1": "running", "worker-2": "stopped"}
    with pytest.raises(ClusterError, match="docker-compose start worker-2"):
        cluster.start("worker-2")
    with pytest.raises(ClusterError, match="docker-compose up -d --no-recreate --scale worker=1"):
        cluster.scale(4)


@pytest.mark.parametrize(
    ("container", "call"),
    [
        ("", "docker-compose"),
        ("labkit-lab-1", "docker-compose"),
        ("ana-lab-1", "COMPOSE_PROJECT_NAME=ana docker-compose"),
    ],
)
def test_commands_for_the_host_name_a_project_of_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, call: str
) -> None:
    monkeypatch.setattr(inside, "own_name", lambda: container)
    inside._compose.cache_clear()
    settings = Settings(folder=tmp_path, control=tmp_path, token_file=tmp_path / "token")
    (tmp_path / "token").write_text("secret", encoding="ascii")
    backend = InsideBackend(settings)
    try:
        with pytest.raises(ClusterError, match=f": {call} up -d --no-recreate --scale worker=1$"):
            backend.scale(4)
        with pytest.raises(ClusterError, match=f": {call} down$"):
            backend.down()
        with pytest.raises(ClusterError, match=f": {call} logs --tail 9 worker$"):
            backend.logs("ana-worker-2", 9)
        assert backend.last_line("worker-2") == f"{call} logs worker-2"
    finally:
        inside._compose.cache_clear()


def test_a_new_container_begins_a_history_and_the_same_one_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    agent.begin_history(folder)
    folder.events_file.write_text("one\n", encoding="ascii")
    agent.begin_history(folder)
    assert folder.events_file.read_text("ascii") == "one\n"
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    agent.begin_history(folder)
    assert not folder.events_file.exists()
    assert (tmp_path / "events-1.jsonl").read_text("ascii") == "one\n"


def test_a_request_to_a_missing_socket_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError):
        ask(tmp_path, "status", timeout_s=1.0)
    wait_until(lambda: not list(tmp_path.iterdir()))


def test_an_unknown_request_is_refused_and_changes_nothing(start: Agent, tmp_path: Path) -> None:
    process = start()
    wait_for_line(process, "up")
    with pytest.raises(ClusterError, match="worker-7 is running: explode does not apply"):
        ask(tmp_path, "act", fault="explode")
    with pytest.raises(ClusterError, match="worker-7 is running: None does not apply"):
        ask(tmp_path, "check")
    with pytest.raises(ClusterError, match="the agent of worker-7 cannot scale"):
        ask(tmp_path, "scale", n=3)
    assert ask(tmp_path, "status")["state"] == "running"
