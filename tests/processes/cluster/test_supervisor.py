"""The supervisor keeps its children alive; small scripts stand in for broker and workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from labkit.cluster.run_folder import RunFolder
from labkit.support import process_groups
from tests.tools.supervised import PARENT, POLITE, SHORT_LIVED, Open
from tests.tools.waiting import require, wait_until


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


# --- the HTTP side ---


def test_the_http_side_is_a_child_like_the_others(opened: Open) -> None:
    cluster = opened(api=POLITE)
    assert set(cluster.names()) == {"broker", "worker-1", "api"}
    before = cluster.wait_until_up("api")
    assert (before["kind"], before["state"]) == ("api", "running")
    os.kill(before["pid"], process_groups.KILL)
    wait_until(lambda: cluster.row("api")["restarts"] == 1, what="its restart")
    cluster.wait_until_up("api")
    cluster.act("stop", "api")
    assert cluster.row("api")["state"] == "stopped"
    cluster.act("start", "api")
    # So that a cleanup after a crash ends it too.
    wait_until(lambda: "api" in cluster.all_processes(), what="it in cluster.json")


def test_the_http_side_starts_when_the_cluster_can_be_found(opened: Open, folder: RunFolder) -> None:
    """It finds the cluster by cluster.json, so its first look must not be too early."""
    look = "import json, sys; print('up', json.load(open(sys.argv[1]))['name'], flush=True); sys.stdin.read()"
    script = f"import sys; sys.argv = ['', {str(folder.state_file)!r}]; {look}; import time; time.sleep(60)"
    cluster = opened(api=script)
    cluster.wait_until_up("api")
    assert "up test" in cluster.log("api") and cluster.row("api")["restarts"] == 0


def test_an_http_side_that_cannot_live_harms_nobody(opened: Open) -> None:
    cluster = opened(api=SHORT_LIVED)
    wait_until(lambda: cluster.row("api")["short_lives"] >= 3, what="three short lives")
    assert [cluster.row(name)["restarts"] for name in ("broker", "worker-1")] == [0, 0]
