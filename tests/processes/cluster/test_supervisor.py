"""The supervisor with real processes: small scripts stand in for broker and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from labkit.cluster.local.lifeline import Lifeline
from labkit.cluster.local.plan import environment
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor.control import ask
from labkit.cluster.supervisor.plan import Plan
from labkit.core.errors import ClusterError, ClusterNotRunning, InvalidInput
from labkit.support import process_groups
from labkit.support.settings import Settings
from tests.tools.waiting import require, wait_until

POLITE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", os.environ["WORKER_ID"], flush=True)
while True: signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: signal.pause()
"""
SHORT_LIVED = "import sys; print('I cannot live'); sys.exit(3)"
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True); child.wait()
"""


def make_plan(
    folder: RunFolder,
    worker: str | list[str] = POLITE,
    workers: int = 1,
    private: bool = True,
    drain_s: float = 5.0,
) -> dict[str, Any]:
    """Return a plan whose broker is polite, and whose workers run ``worker``: a script or a command."""
    command = [sys.executable, "-c", worker] if isinstance(worker, str) else worker
    return {
        "folder": str(folder.path),
        "private": private,
        "workers": workers,
        "drain_s": drain_s,
        "broker": {"command": [sys.executable, "-c", POLITE], "environment": {"WORKER_ID": "broker"}},
        "redis": None,
        "worker": {"command": command, "environment": {}, "own": {}},
        "about": {"name": "test"},
    }


class Cluster:
    """A supervisor under test, and the requests to it."""

    def __init__(self, folder: RunFolder, plan: dict[str, Any]) -> None:
        self.folder = folder
        self.lifeline = Lifeline(cast(Plan, plan), environment(Settings.from_environment()))
        try:
            self.started = self.lifeline.answer()
        except BaseException:
            self.lifeline.let_go()
            raise
        self.state = self.started["state"]
        self.token = folder.read_token()

    def ask(self, do: str, **parameters: Any) -> Any:
        return ask(self.state["control_port"], self.token, do, 10.0, **parameters)

    def act(self, fault: str, name: str, recorded: bool = True) -> None:
        self.ask("act", fault=fault, name=name, recorded=recorded)

    def row(self, name: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.ask("status")["processes"]
        return next(row for row in rows if row["name"] == name)

    def names(self) -> list[str]:
        return [row["name"] for row in self.ask("status")["processes"]]

    def supervisor(self) -> int:
        pid: int = self.state["processes"]["supervisor"][0]
        return pid

    def log(self, name: str) -> str:
        path = self.folder.log_file(name)
        return path.read_text() if path.exists() else ""

    def wait_until_up(self, name: str = "worker-1") -> dict[str, Any]:
        """Wait until the script has said that it hears signals, since its last start."""
        wait_until(lambda: self.log(name).rpartition(" ---\n")[2].startswith("up"), what=f"{name} to be up")
        return self.row(name)

    def all_processes(self) -> dict[str, tuple[int, str]]:
        return {
            name: (pid, born)
            for name, (pid, born) in (self.folder.read_state() or self.state)["processes"].items()
        }


Open = Callable[..., Cluster]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.of(tmp_path, "test")


@pytest.fixture
def opened(folder: RunFolder) -> Iterator[Open]:
    """Opens clusters, and sees to it that each ends and leaves nothing."""
    clusters: list[Cluster] = []

    def open_one(worker: str | list[str] = POLITE, **options: Any) -> Cluster:
        clusters.append(Cluster(folder, make_plan(folder, worker, **options)))
        return clusters[-1]

    yield open_one
    for cluster in clusters:
        cluster.lifeline.let_go()


def gone(marks: dict[str, tuple[int, str]]) -> bool:
    return not any(process_groups.is_alive(*mark) for mark in marks.values())


# --- keeping children alive ---------------------------------------------------------------------------------


def test_all_processes_start_and_their_output_is_logged(opened: Open) -> None:
    cluster = opened(workers=2)
    assert cluster.names() == ["broker", "worker-1", "worker-2"]
    assert all(row["state"] == "running" for row in cluster.ask("status")["processes"])
    for name in cluster.names():
        wait_until(lambda name=name: f"up {name}" in cluster.log(name), what=f"{name} to print")  # type: ignore[misc]


def test_a_child_that_ends_by_itself_is_started_again_at_once(opened: Open) -> None:
    cluster = opened()
    before = cluster.wait_until_up()
    os.kill(before["pid"], process_groups.KILL)
    wait_until(lambda: cluster.row("worker-1")["restarts"] == 1, timeout_s=1.0, what="its restart")
    after = cluster.row("worker-1")
    assert (after["state"], after["last_exit"]) == ("running", "SIGKILL")
    assert after["pid"] != before["pid"]
    assert cluster.all_processes()["worker-1"] == (after["pid"], process_groups.birth(after["pid"]))


def test_unasked_exit_with_code_0_counts_as_a_crash(opened: Open) -> None:
    cluster = opened()
    os.kill(cluster.wait_until_up()["pid"], signal.SIGTERM)
    wait_until(lambda: cluster.row("worker-1")["restarts"] == 1, what="its restart")
    assert cluster.row("worker-1")["last_exit"] == "exit 0"


def test_pauses_grow_for_a_child_that_keeps_ending(opened: Open) -> None:
    cluster = opened(SHORT_LIVED)
    wait_until(lambda: cluster.row("worker-1")["short_lives"] >= 3, what="three short lives")
    wait_until(lambda: cluster.row("worker-1")["restart_in_s"], what="a pause")
    row = cluster.row("worker-1")
    assert (row["state"], row["last_exit"], row["pid"]) == ("restarting", "exit 3", None)
    assert "I cannot live" in cluster.log("worker-1")
    assert row["restarts"] < 6


def test_missing_program_counts_as_one_that_ends_at_once(opened: Open) -> None:
    cluster = opened(["/no/such/program"])
    wait_until(lambda: cluster.row("worker-1")["short_lives"] >= 2, what="two attempts")
    assert "No such file" in cluster.row("worker-1")["last_exit"]
    assert "cannot be started" in cluster.log("worker-1")
    assert cluster.row("broker")["state"] == "running"


def test_a_full_disk_ends_no_cluster(opened: Open, folder: RunFolder) -> None:
    require(Path("/dev/full").exists(), "/dev/full")
    cluster = opened("import signal; signal.pause()")  # it prints nothing: that would be its own failure
    before = cluster.row("worker-1")
    folder.log_file("worker-1").unlink()
    folder.log_file("worker-1").symlink_to("/dev/full")
    folder.state_file.unlink()
    folder.state_file.mkdir()  # in its way, as a full disk would be
    os.kill(before["pid"], process_groups.KILL)
    wait_until(lambda: cluster.row("worker-1")["restarts"] == 1, what="its restart")
    after = cluster.row("worker-1")
    assert after["state"] == "running"
    assert folder.state_file.is_dir(), "that could not be written yet"
    folder.state_file.rmdir()
    wait_until(folder.state_file.exists, what="cluster.json")
    assert cluster.all_processes()["worker-1"][0] == after["pid"]


def test_a_log_of_its_own_is_no_condition(opened: Open, folder: RunFolder) -> None:
    folder.log_file("supervisor").mkdir(parents=True)  # in its way, as a full disk would be
    cluster = opened()
    assert cluster.wait_until_up()["state"] == "running"


def test_processes_started_by_a_child_end_with_it(opened: Open) -> None:
    cluster = opened(PARENT)
    pid = int(
        wait_until(lambda: cluster.log("worker-1").partition("---\n")[2].strip(), what="the grandchild")
    )
    born = process_groups.birth(pid)
    assert born is not None
    cluster.act("kill", "worker-1")
    wait_until(lambda: not process_groups.is_alive(pid, born), what="the grandchild's end")


# --- commands -----------------------------------------------------------------------------------------------


def test_a_killed_child_stays_down_until_it_is_started(opened: Open) -> None:
    cluster = opened()
    pid = cluster.wait_until_up()["pid"]
    cluster.act("kill", "worker-1")
    wait_until(lambda: cluster.row("worker-1")["state"] == "killed", what="its death")
    assert cluster.row("worker-1")["last_exit"] == "SIGKILL"
    cluster.act("start", "worker-1")
    row = cluster.row("worker-1")
    assert row["state"] == "running" and row["pid"] != pid
    assert cluster.row("broker")["restarts"] == 0


def test_stop_is_polite_and_returns_when_the_child_has_ended(opened: Open) -> None:
    cluster = opened()
    cluster.wait_until_up()
    cluster.act("stop", "worker-1")
    row = cluster.row("worker-1")
    assert (row["state"], row["last_exit"], row["pid"]) == ("stopped", "exit 0", None)


def test_a_child_that_does_not_drain_in_time_is_killed(opened: Open) -> None:
    cluster = opened(STUBBORN, drain_s=0.2)
    cluster.wait_until_up()
    cluster.act("stop", "worker-1")
    row = cluster.row("worker-1")
    assert (row["state"], row["last_exit"]) == ("stopped", "SIGKILL")


def test_child_started_while_draining_returns_after_its_end(opened: Open) -> None:
    cluster = opened(STUBBORN, drain_s=0.5)
    pid = cluster.wait_until_up()["pid"]
    cluster.ask("scale", n=0)
    assert cluster.row("worker-1")["state"] == "stopping"
    cluster.act("start", "worker-1")
    wait_until(lambda: cluster.row("worker-1")["pid"] not in (pid, None), what="its next life")
    assert cluster.row("worker-1")["state"] == "running"


def test_a_paused_child_does_nothing_until_it_is_resumed(opened: Open) -> None:
    cluster = opened()
    process = psutil.Process(cluster.wait_until_up()["pid"])
    cluster.act("pause", "worker-1")
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, what="it to freeze")
    assert cluster.row("worker-1")["state"] == "paused"
    cluster.act("resume", "worker-1")
    wait_until(lambda: process.status() == psutil.STATUS_SLEEPING, what="it to wake")
    assert cluster.row("worker-1")["state"] == "running"


@pytest.mark.parametrize(("fault", "ends_as"), [("kill", "SIGKILL"), ("stop", "exit 0")])
def test_a_paused_child_can_be_ended(opened: Open, fault: str, ends_as: str) -> None:
    cluster = opened()
    cluster.wait_until_up()
    cluster.act("pause", "worker-1")
    cluster.act(fault, "worker-1")
    wait_until(lambda: cluster.row("worker-1")["last_exit"] == ends_as, what="its end")


def test_same_commands_act_on_broker_and_worker(opened: Open) -> None:
    cluster = opened()
    cluster.act("kill", "broker")
    wait_until(lambda: cluster.row("broker")["state"] == "killed", what="its death")
    assert cluster.ask("check", fault="start", name="broker") == {"broker": "killed"}
    cluster.act("start", "broker", recorded=False)
    assert cluster.row("broker")["state"] == "running"
    unrecorded = cluster.ask("status")["unrecorded_faults"]
    assert [(fault["fault"], fault["target"]) for fault in unrecorded] == [("start", "broker")]


@pytest.mark.parametrize(
    ("before", "fault"),
    [
        (None, "start"),
        (None, "resume"),
        ("pause", "pause"),
        ("pause", "start"),
        ("stop", "stop"),
        ("stop", "kill"),
    ],
)
def test_command_that_does_not_apply_names_the_state(opened: Open, before: str | None, fault: str) -> None:
    cluster = opened()
    cluster.wait_until_up()
    if before is not None:
        cluster.act(before, "worker-1")
    state = cluster.row("worker-1")["state"]
    with pytest.raises(ClusterError, match=f"worker-1 is {state}: {fault} does not apply"):
        cluster.ask("check", fault=fault, name="worker-1")


@pytest.mark.parametrize("do", ["check", "act"])
def test_unknown_name_error_lists_the_known_ones(opened: Open, do: str) -> None:
    cluster = opened()
    with pytest.raises(InvalidInput, match="'worker-9' is unknown; the cluster has broker, worker-1"):
        cluster.ask(do, fault="kill", name="worker-9", **({"recorded": True} if do == "act" else {}))


@pytest.mark.parametrize(
    ("do", "parameters", "answer"),
    [
        ("explode", {}, "does not understand"),
        ("scale", {"m": 3}, "does not understand"),
        ("act", {"fault": "explode", "name": "worker-1", "recorded": True}, "explode does not apply"),
    ],
)
def test_invalid_request_is_refused_and_changes_nothing(
    opened: Open, do: str, parameters: dict[str, Any], answer: str
) -> None:
    cluster = opened()
    with pytest.raises(ClusterError, match=answer):
        cluster.ask(do, **parameters)
    assert cluster.row("worker-1")["state"] == "running"


def test_scale_adds_the_next_numbers_and_drains_the_highest(opened: Open) -> None:
    cluster = opened()
    assert cluster.ask("scale", n=3) == ["worker-1", "worker-2", "worker-3"]
    for name in ("worker-1", "worker-2", "worker-3"):
        cluster.wait_until_up(name)
    assert cluster.ask("scale", n=2) == ["worker-1", "worker-2"]
    wait_until(lambda: cluster.names() == ["broker", "worker-1", "worker-2"], what="worker-3 to leave")
    assert cluster.row("worker-1")["restarts"] == 0
    assert "worker-3" not in cluster.all_processes()


def test_a_worker_that_was_stopped_keeps_its_number_when_the_cluster_grows(opened: Open) -> None:
    cluster = opened(workers=2)
    cluster.act("stop", "worker-1")
    assert cluster.ask("scale", n=3) == ["worker-1", "worker-2", "worker-3"]
    assert cluster.row("worker-1")["state"] == "stopped"


def test_growing_again_keeps_a_worker_that_still_drains(opened: Open) -> None:
    cluster = opened(STUBBORN, workers=2, drain_s=0.3)
    pid = cluster.wait_until_up("worker-2")["pid"]
    cluster.ask("scale", n=1)
    assert cluster.ask("scale", n=2) == ["worker-1", "worker-2"]
    wait_until(lambda: cluster.row("worker-2")["pid"] not in (pid, None), what="its next life")


@pytest.mark.parametrize("n", [-1, 257, "3", None, 2.5])
def test_an_impossible_number_of_workers_is_refused(opened: Open, n: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot have"):
        opened().ask("scale", n=n)


# --- the end ------------------------------------------------------------------------------------------------


def test_the_end_of_its_starter_ends_the_cluster_and_removes_its_folder(opened: Open) -> None:
    cluster = opened(workers=2)
    marks = cluster.all_processes()
    cluster.lifeline.let_go()
    assert gone(marks)
    assert not cluster.folder.path.exists()


def test_detached_cluster_lives_on_until_down(opened: Open) -> None:
    cluster = opened(private=False)
    marks = cluster.all_processes()
    cluster.lifeline.detach()
    wait_until(lambda: cluster.ask("status")["detached"], what="it to hear that")
    assert not gone(marks)
    cluster.ask("down")
    wait_until(lambda: gone(marks), what="its end")
    assert [path.name for path in cluster.folder.path.iterdir()] == ["logs"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_the_cluster(opened: Open, name: str) -> None:
    cluster = opened(private=False)
    marks = cluster.all_processes()
    cluster.lifeline.detach()
    os.kill(cluster.supervisor(), signal.Signals[name])
    wait_until(lambda: gone(marks), what="its end")
    assert not cluster.folder.state_file.exists()


def test_workers_that_ignore_sigterm_delay_the_end_by_3_s_at_most(opened: Open) -> None:
    cluster = opened(STUBBORN, workers=3, drain_s=30.0)
    for name in ("worker-1", "worker-2"):
        cluster.wait_until_up(name)
    cluster.act("pause", "worker-1")
    cluster.act("pause", "broker")
    marks = cluster.all_processes()
    began = time.monotonic()
    cluster.ask("down")
    assert time.monotonic() - began < 3.0
    wait_until(lambda: gone(marks), what="its end")


def test_restarting_child_is_not_started_while_the_cluster_ends(opened: Open) -> None:
    cluster = opened(SHORT_LIVED)
    wait_until(lambda: cluster.row("worker-1")["restart_in_s"], what="a pause")
    marks = cluster.all_processes()
    cluster.ask("down")
    wait_until(lambda: gone(marks), what="its end")


def test_nothing_is_started_in_a_cluster_that_is_ending(opened: Open) -> None:
    cluster = opened(STUBBORN, drain_s=30.0)
    cluster.wait_until_up()
    os.kill(cluster.supervisor(), signal.SIGTERM)
    wait_until(lambda: cluster.row("worker-1")["state"] == "stopping", what="the end to begin")
    with pytest.raises(ClusterError, match="going down"):
        cluster.ask("scale", n=5)


def test_all_requests_for_the_end_are_answered(opened: Open) -> None:
    cluster = opened(private=False)
    asking = (
        "import sys; from labkit.cluster.supervisor.control import ask; "
        "ask(int(sys.argv[1]), sys.argv[2], 'down', 10.0)"
    )
    command = [sys.executable, "-c", asking, str(cluster.state["control_port"]), cluster.token]
    cluster.act("pause", "broker")  # it takes a moment
    askers = [subprocess.Popen(command) for _ in range(2)]
    assert [asker.wait(10) for asker in askers][0] in (0, 1)
    assert 0 in [asker.returncode for asker in askers]
    with pytest.raises(ClusterNotRunning):
        cluster.ask("status")


# --- whose it is --------------------------------------------------------------------------------------------


def test_ctrl_c_in_the_terminal_reaches_no_process_of_the_cluster(opened: Open) -> None:
    require(sys.platform != "win32", "sessions and groups of processes")
    cluster = opened(workers=2)
    pids = [pid for pid, _born in cluster.all_processes().values()]
    assert all(os.getsid(pid) != os.getsid(0) for pid in pids)
    assert len({os.getpgid(pid) for pid in pids}) == len(pids), "each leads a group of its own"


def test_a_second_supervisor_in_the_same_folder_is_refused(opened: Open) -> None:
    first = opened(private=False)
    with pytest.raises(ClusterError, match="already"):
        opened(private=False)
    assert first.row("worker-1")["state"] == "running"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, opened: Open, folder: RunFolder) -> None:
    folder.path.parent.mkdir(parents=True)
    folder.path.write_text("a file in its place")
    with pytest.raises(ClusterError, match=f"cannot use its folder {folder.path}"):
        opened()


def test_a_killed_supervisors_children_are_ended_by_its_successor(opened: Open) -> None:
    first = opened(private=False, workers=2)
    first.wait_until_up("worker-2")
    marks = first.all_processes()
    first.folder.events_file.write_text("the crashed run's history\n")
    os.kill(first.supervisor(), process_groups.KILL)
    wait_until(lambda: first.folder.running() is None, what="its death to be seen")
    second = opened(private=False)
    assert sorted(second.started["ended"]) == ["broker", "worker-1", "worker-2"]
    assert gone({name: mark for name, mark in marks.items() if name != "supervisor"})
    assert (first.folder.path / "events-1.jsonl").read_text() == "the crashed run's history\n"


STARTER = """
import json, os, sys, time
from labkit.cluster.local.lifeline import Lifeline
from labkit.cluster.local.plan import environment
from labkit.support.settings import Settings
lifeline = Lifeline(json.loads(sys.argv[1]), environment(Settings.from_environment()))
lifeline.answer()
if sys.argv[2] == "fork" and os.fork() == 0:
    os.setpgid(0, 0)
os.write(1, f"{os.getpid()}{os.linesep}".encode())
time.sleep(60)
"""


@pytest.mark.parametrize("forks", ["no", "fork"])
def test_a_starter_that_is_killed_leaves_nothing(folder: RunFolder, forks: str) -> None:
    plan = json.dumps(make_plan(folder, workers=2))
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, plan, forks], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pids = {int(starter.stdout.readline()) for _ in range(2 if forks == "fork" else 1)}
    state = folder.read_state()
    assert state is not None
    marks = {name: (pid, born) for name, (pid, born) in state["processes"].items()}
    starter.kill()
    starter.wait()
    try:
        wait_until(lambda: gone(marks), what="the cluster's end")
        wait_until(lambda: not folder.path.exists(), what="its folder's end")
    finally:
        for pid in pids - {starter.pid}:
            os.kill(pid, process_groups.KILL)  # the forked child, which lives on and has a copy of everything
        starter.stdout.close()


def test_an_idle_supervisor_is_small_and_sleeps(opened: Open) -> None:
    cluster = opened(workers=3)
    for number in (1, 2, 3):
        cluster.wait_until_up(f"worker-{number}")
    process = psutil.Process(cluster.supervisor())
    assert process.memory_full_info().pss < 16 << 20
    assert not any("numpy" in region.path or "zmq" in region.path for region in process.memory_maps())
