"""What a command does to the supervisor's children, and which commands it refuses."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from labkit.core.errors import ClusterError, InvalidInput
from tests.tools.supervised import STUBBORN, Open
from tests.tools.waiting import wait_until


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
