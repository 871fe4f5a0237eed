"""The end of a supervisor and of its starter: no process is left, and each cluster has one supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import ClusterError, ClusterNotRunning
from labkit.support import process_groups
from tests.tools.supervised import SHORT_LIVED, STUBBORN, Open, gone, make_plan
from tests.tools.waiting import require, wait_until

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


def test_an_http_side_that_ignores_sigterm_is_killed_at_the_end(opened: Open) -> None:
    cluster = opened(private=False, api=STUBBORN)
    cluster.wait_until_up("api")
    marks = cluster.all_processes()
    cluster.lifeline.detach()
    cluster.ask("down")
    wait_until(lambda: gone(marks), what="the end of all")


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
