"""Local clusters with real processes: broker, workers, Redis where installed, and the handle on them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.cluster import Cluster, open_cluster, ports
from labkit.cluster.backend import BackendStatus
from labkit.cluster.history_file import EventFile
from labkit.cluster.readiness import keeps_ending_error
from labkit.cluster.status import WorkerRow
from labkit.core.errors import (
    BrokerUnreachable,
    ClientGone,
    ClusterError,
    ClusterNotRunning,
    InvalidInput,
    PortInUse,
    TaskPoisoned,
)
from labkit.core.protocol.rules import Rules
from labkit.executors import open_executor
from labkit.mirror.server import find_binary, ping
from labkit.support import process_groups
from labkit.support.settings import Settings
from tests.tools.clusters import gone, marks_of
from tests.tools.waiting import require, wait_until


def worker(cluster: Cluster, name: str) -> WorkerRow:
    return next(row for row in cluster.status()["workers"] if row["name"] == name)


def kinds(cluster: Cluster, name: str) -> list[str]:
    """Return the kinds of the events of a worker or a fault's target, in order."""
    return [
        str(event.detail.get("fault", event.kind))
        for event in cluster.history().events
        if name in (event.worker, event.detail.get("target"))
    ]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with open_cluster(workers=2, redis=False) as cluster:
        yield cluster


# --- a private cluster --------------------------------------------------------------------------------------


def test_three_workers_are_ready_and_share_the_work() -> None:
    with open_cluster() as cluster:
        assert [(w.name, w.process, w.status) for w in cluster.workers()] == [
            (f"worker-{n}", "running", "ready") for n in (1, 2, 3)
        ]
        with cluster.client() as client:
            futures = [client.submit(jobs.spin, 0.05) for _ in range(9)]
            wait(futures, timeout=20)
            assert {future.worker for future in futures} == {"worker-1", "worker-2", "worker-3"}
        status = cluster.status()
        assert sum(row["tasks_completed"] for row in status["workers"]) == 9
        assert (status["backend"], status["broker_error"], status["address"]) == (
            "local",
            None,
            cluster.address,
        )
        assert [process["kind"] for process in status["processes"]][:1] == ["broker"]


def test_closing_leaves_neither_process_nor_file_nor_port() -> None:
    with open_cluster(workers=2) as cluster:
        marks = marks_of(cluster)
        folder, chosen = cluster.folder, cluster.ports
        assert cluster.folder.exists()
    assert gone(marks)
    assert not folder.exists()
    assert [ports.obstacle("127.0.0.1", port) for port in chosen.values()] == [None] * 4
    cluster.close()  # once more: nothing to do
    with pytest.raises(ClusterNotRunning):
        cluster.status()


def test_open_tasks_fail_at_once_when_the_cluster_ends() -> None:
    with open_cluster(workers=1, redis=False) as cluster:
        executor = open_executor("cluster", cluster=cluster)
        future = executor.submit(jobs.sleep_for, 60)
        wait_until(future.running, what="the task to start")
    with pytest.raises(ClientGone):
        future.result(5)
    executor.shutdown()


def test_the_mirror_has_a_redis_where_there_is_one() -> None:
    require(find_binary(), "a Redis server")
    with open_cluster(workers=1) as cluster:
        assert cluster.redis_url is not None
        wait_until(lambda: ping(str(cluster.redis_url)), what="Redis to answer")
        before = marks_of(cluster)["redis"]
        os.kill(before[0], process_groups.KILL)
        wait_until(lambda: marks_of(cluster)["redis"] != before, what="its restart")
        wait_until(lambda: ping(str(cluster.redis_url)), what="it to answer at the same address")
        cluster.kill("redis")
        assert not ping(cluster.redis_url)
        with cluster.client() as client:
            assert client.submit(jobs.add, 2, 3).result(5) == 5


def test_password_of_a_users_redis_is_never_shown() -> None:
    settings = replace(Settings.from_environment(), redis_url="redis://ana:geheim@127.0.0.1:9/0")
    with open_cluster(workers=0, settings=settings) as cluster:
        assert cluster.redis_url == settings.redis_url, "programs connect with it"
        wait_until(lambda: "redis" in cluster.logs("broker"), what="the broker to print where its mirror is")
        shown = json.dumps(cluster.status()) + cluster.logs()
        assert "redis://***@127.0.0.1:9/0" in shown and "geheim" not in shown
        commands = [Path(f"/proc/{pid}/cmdline") for pid, _born in marks_of(cluster).values()]
        assert not any(b"geheim" in path.read_bytes() for path in commands if path.exists())


def test_cluster_runs_without_redis_and_its_status_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.mirror.server.find_binary", lambda: None)
    with open_cluster(workers=1) as cluster:
        assert cluster.redis_url is None
        assert "redis" not in marks_of(cluster)
        with cluster.client() as client:
            assert client.submit(jobs.add, 2, 3).result(5) == 5


def test_two_clusters_live_side_by_side(cluster: Cluster) -> None:
    with open_cluster(workers=1, redis=False) as other:
        assert not set(cluster.ports.values()) & set(other.ports.values())
        other.kill("worker-1")
        with cluster.client() as client:
            assert client.submit(jobs.add, 2, 3).result(5) == 5
        assert "kill" not in kinds(cluster, "worker-1")
    assert cluster.status()["broker"] is not None


def test_workers_have_the_requested_options() -> None:
    capabilities = {"worker-2": ["blur"]}
    rules = Rules(heartbeat_s=0.2, suspect_s=0.4, dead_s=0.8)
    settings = Settings(home=Path(os.environ["LABKIT_HOME"]), rules=rules)
    with open_cluster(
        2, capabilities=capabilities, slots=3, policy="round_robin", redis=False, settings=settings
    ) as cluster:
        first, second = cluster.workers()
        assert (first.capabilities, second.capabilities) == ([], ["blur"])
        assert (first.slots, second.slots) == (3, 3)
        assert cluster.history().events[0].detail["policy"] == "round_robin"
        cluster.pause("worker-1")
        wait_until(
            lambda: "lost" in kinds(cluster, "worker-1"), timeout_s=1.9, what="the shorter patience to end"
        )


def test_a_learners_own_policy_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.py").write_text(
        "def choose(task, workers, now):\n"
        "    if task.job.endswith('add'):\n"
        "        raise ValueError('not this one')\n"
        "    return next((w for w in workers if w.id == 'worker-2'), None)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with open_cluster(2, redis=False, policy="work.mine:choose") as cluster, cluster.client() as client:
        assert cluster.policy == "work.mine:choose"
        futures = [client.submit(jobs.echo, number) for number in range(20)]
        assert [future.result(20) for future in futures] == list(range(20))
        assert {future.worker for future in futures} == {"worker-2"}
        assert client.submit(jobs.add, 1, 2).result(20) == 3
        wait_until(lambda: cluster.history().counts().get("policy_error"), what="its failure in the history")
    with pytest.raises(InvalidInput, match="has no function chose"):
        open_cluster(1, policy="work.mine:chose")


def test_learners_file_does_not_replace_a_module_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "json.py").write_text("raise SystemExit('this is not the json you are looking for')")
    (elsewhere / "work.py").write_text("import os\ndef where() -> str: return os.getcwd()\n")
    monkeypatch.chdir(here)
    settings = Settings(home=Path(os.environ["LABKIT_HOME"]), work=elsewhere)
    with open_cluster(1, redis=False, settings=settings) as cluster, cluster.client() as client:
        assert client.submit("work:where").result(5) == str(here)


# --- faults -------------------------------------------------------------------------------------------------


def test_kill_is_recorded_first_and_worker_stays_down_until_start(cluster: Cluster) -> None:
    with cluster.client() as client:
        futures = [client.submit(jobs.spin, 0.1) for _ in range(10)]
        wait_until(lambda: worker(cluster, "worker-2")["in_flight"], what="worker-2 to have work")
        noted_at = cluster.kill("worker-2")
        assert sorted(future.result(10) for future in futures)
    assert kinds(cluster, "worker-2")[-2:] == ["kill", "lost"] or "requeued" in kinds(cluster, "worker-2")
    events = [
        event
        for event in cluster.history().events
        if "worker-2" in (event.worker, event.detail.get("target"))
    ]
    fault = next(event for event in events if event.kind == "fault")
    lost = next(event for event in events if event.kind == "lost")
    assert fault.at <= noted_at < lost.at + 0.001
    assert lost.at - fault.at < 1.0
    row = worker(cluster, "worker-2")
    assert (row["process"], row["last_exit"], row["pid"]) == ("killed", "SIGKILL", None)
    cluster.start("worker-2")
    cluster.wait_until_ready()
    row = worker(cluster, "worker-2")
    assert (row["process"], row["status"], row["restarts"]) == ("running", "ready", 1)


def test_a_worker_that_crashes_is_restarted(cluster: Cluster) -> None:
    before = marks_of(cluster)["worker-1"]
    os.kill(before[0], process_groups.KILL)
    wait_until(lambda: marks_of(cluster)["worker-1"] != before, what="its restart")
    cluster.wait_until_ready()
    assert worker(cluster, "worker-1")["pid"] != before[0]


def test_a_poisonous_task_ends_by_name_and_the_workers_are_back(cluster: Cluster) -> None:
    with cluster.client() as client:
        with pytest.raises(TaskPoisoned):
            client.submit(jobs.crash).result(20)
        cluster.wait_until_ready()
        assert client.submit(jobs.add, 2, 3).result(5) == 5


def test_a_stopped_worker_finishes_what_it_holds(cluster: Cluster) -> None:
    with cluster.client() as client:
        futures = [client.submit(jobs.sleep_for, 0.3) for _ in range(2)]
        wait_until(lambda: worker(cluster, "worker-1")["in_flight"] == 1, what="worker-1 to have work")
        cluster.stop("worker-1")
        row = worker(cluster, "worker-1")
        assert (row["process"], row["last_exit"]) == ("stopped", "exit 0")
        assert [future.result(5) for future in futures] == [0.3, 0.3]
    assert "lost" not in kinds(cluster, "worker-1")
    assert "requeued" not in kinds(cluster, "worker-1")


def test_a_frozen_worker_is_lost_and_comes_back_as_a_new_one(cluster: Cluster) -> None:
    cluster.pause("worker-1")
    assert worker(cluster, "worker-1")["process"] == "paused"
    wait_until(lambda: "lost" in kinds(cluster, "worker-1"), what="its loss")
    cluster.resume("worker-1")
    cluster.wait_until_ready(5.0)
    wait_until(lambda: kinds(cluster, "worker-1").count("joined") == 2, what="it to join as a new worker")


def test_scaling_adds_and_drains(cluster: Cluster) -> None:
    assert cluster.scale(4) == ["worker-1", "worker-2", "worker-3", "worker-4"]
    cluster.wait_until_ready()
    assert [w.status for w in cluster.workers()] == ["ready"] * 4
    assert cluster.scale(1) == ["worker-1"]
    wait_until(lambda: [w.name for w in cluster.workers()] == ["worker-1"], what="the others to leave")
    wait_until(lambda: "left" in kinds(cluster, "worker-4"), what="its leave in the history")
    assert not any("lost" in kinds(cluster, f"worker-{n}") for n in (2, 3, 4))


def test_killed_broker_is_recorded_and_all_return_after_start(
    cluster: Cluster,
) -> None:
    with cluster.client() as client:
        futures = [client.submit(jobs.sleep_for, 0.2) for _ in range(10)]
        cluster.kill("broker")
        assert kinds(cluster, "broker") == ["kill"]
        status = cluster.status()
        assert (status["broker"], status["broker_error"]) == (None, "the broker is killed")
        assert [row["status"] for row in status["workers"]] == ["absent", "absent"]
        cluster.start("broker")
        cluster.wait_until_ready()
        assert [future.result(10) for future in futures] == [0.2] * 10
    # The broker was down and could not record the start: the status counts it.
    assert kinds(cluster, "broker") == ["kill"]
    unrecorded = cluster.status()["unrecorded_faults"]
    assert [(fault["fault"], fault["target"]) for fault in unrecorded] == [("start", "broker")]


def test_fault_of_the_broker_does_not_read_the_whole_history(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After hours of work the whole history is gigabytes, and reading it takes minutes."""
    with monkeypatch.context() as patch:
        patch.setattr(EventFile, "history", lambda _: pytest.fail("the whole history was read"))
        cluster.pause("broker")
        cluster.resume("broker")
    assert kinds(cluster, "broker") == ["pause"], "it was on the disk before the broker froze"


def test_a_frozen_broker_delays_no_command(cluster: Cluster) -> None:
    cluster.pause("broker")
    cluster.kill("worker-1")  # not noted, and not waited for
    cluster.resume("broker")
    cluster.start("worker-1")
    cluster.wait_until_ready()
    assert [fault["fault"] for fault in cluster.status()["unrecorded_faults"]] == ["kill", "resume"]


@pytest.mark.parametrize(("fault", "recovery"), [("pause", "resume"), ("kill", "start")])
def test_broker_down_by_command_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, fault: str, recovery: str
) -> None:
    monkeypatch.setattr("labkit.cluster.readiness.BROKER_DOWN_S", 0.3)
    getattr(cluster, fault)("broker")
    with pytest.raises(BrokerUnreachable, match=f"cluster.{recovery}..broker"):
        cluster.wait_until_ready(3600.0)
    getattr(cluster, recovery)("broker")
    cluster.wait_until_ready()


def test_broker_that_returns_soon_is_waited_for(cluster: Cluster) -> None:
    cluster.pause("broker")
    asked = threading.Event()
    status = cluster._backend.status

    def seen() -> BackendStatus:
        asked.set()
        return status()

    def bring_back() -> None:
        asked.wait(10)
        cluster.resume("broker")

    bringing = threading.Thread(target=bring_back)
    bringing.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster._backend, "status", seen)
        cluster.wait_until_ready()
    bringing.join()


def test_broker_that_does_not_answer_is_named_in_the_error(cluster: Cluster) -> None:
    pid = marks_of(cluster)["broker"][0]
    require(hasattr(signal, "SIGSTOP"), "a signal that freezes a process")
    os.kill(pid, signal.SIGSTOP)  # from outside: the supervisor does not know
    try:
        with pytest.raises(ClusterError, match=r"the broker did not answer within 0\.5 s; .* logs broker"):
            cluster.wait_until_ready(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    cluster.wait_until_ready()


def test_unknown_process_name_error_lists_the_known_ones(cluster: Cluster) -> None:
    for act in (cluster.kill, cluster.stop, cluster.start, cluster.pause, cluster.resume):
        with pytest.raises(
            InvalidInput, match="'worker-9' is unknown; the cluster has broker, worker-1, worker-2"
        ):
            act("worker-9")
    with pytest.raises(InvalidInput, match="worker-9"):
        cluster.logs("worker-9")
    assert "fault" not in cluster.history().counts()


def test_logs_are_of_one_process_or_of_all(cluster: Cluster) -> None:
    own = cluster.logs("broker")
    assert "serving clients" in own and "|" not in own.splitlines()[0]
    everybodys = cluster.logs(lines=1).splitlines()
    assert {line.partition(" ")[0] for line in everybodys} == {"broker", "worker-1", "worker-2"}


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_worker_that_keeps_ending_is_named_with_its_last_line() -> None:
    with pytest.raises(ClusterError, match=r"worker-1 keeps ending \(exit 2\): .*LABKIT_SLOTS"):
        open_cluster(1, slots=-1, redis=False)


def test_last_line_is_the_processs_own_not_the_next_start(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = "--- worker-1 started at 2026-11-27 03:50:00 ---\nwhat a pity\n\n"
    monkeypatch.setattr(cluster._backend, "logs", lambda _name, _lines: printed + printed.splitlines()[0])
    row: Any = {"name": "worker-1", "last_exit": "exit 2"}
    assert str(keeps_ending_error(cluster._backend, row)) == "worker-1 keeps ending (exit 2): what a pity"


def test_a_cluster_that_is_not_ready_in_time_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"the broker did not answer within 0\.01 s"):
        open_cluster(1, redis=False, ready_timeout_s=0.01)


def test_a_port_that_was_asked_for_and_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setenv("LABKIT_WORKER_PORT", str(taken))
        with pytest.raises(PortInUse, match=str(taken)):
            open_cluster(1, redis=False)


def test_a_port_that_is_taken_at_the_last_moment_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.choose("127.0.0.1", {}, usual=False)
    choose, calls = ports.choose, []

    def too_late(host: str, asked: dict[str, int], *, usual: bool) -> dict[str, int]:
        calls.append(usual)
        return first if len(calls) == 1 else choose(host, asked, usual=usual)

    monkeypatch.setattr(ports, "choose", too_late)
    with socket.create_server(("127.0.0.1", first["worker"])), open_cluster(1, redis=False) as cluster:
        assert len(calls) == 2
        assert cluster.ports != first
