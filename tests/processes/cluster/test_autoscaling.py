"""An autoscaler scales a real cluster: more workers while there is work, fewer after it, no task lost."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import jobs
from labkit.cluster import Cluster, open_cluster
from labkit.cluster.status import ClusterStatus
from labkit.cluster.supervisor.control import TimedOut
from labkit.core import history as h
from labkit.core.autoscaler import Decision, Limits
from labkit.core.errors import ClusterError, InvalidInput
from tests.tools.command_line import Commands, background_cluster, command
from tests.tools.waiting import wait_until

QUICK = Limits(least=1, most=3, target_s=0.5, calm_s=1.5)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with open_cluster(1, redis=False) as cluster:
        yield cluster


def up(cluster: Cluster) -> list[str]:
    return [worker.name for worker in cluster.workers() if worker.status in ("ready", "busy")]


def test_workers_follow_the_work_and_no_task_is_lost(cluster: Cluster) -> None:
    reported: list[Decision] = []
    with cluster.client() as client, cluster.autoscale(QUICK, reported.append) as autoscaling:
        futures = [client.submit(jobs.sleep_for, 0.03) for _ in range(150)]
        wait_until(lambda: len(up(cluster)) == 3, 20, "the third worker")
        assert len([future.result(30) for future in futures]) == 150
        # Some work continues, so that a worker may be busy when others leave.
        while len(cluster.workers()) > 1:
            assert client.submit(jobs.echo, "still here").result(20) == "still here"
    sizes = [decision.size for decision in reported]
    top = sizes.index(3)
    assert sizes[: top + 1] == sorted(sizes[: top + 1]), "it grows first"
    assert sizes[top:] == sorted(sizes[top:], reverse=True) and sizes[-1] == 1, "and then shrinks"
    assert list(autoscaling.decisions) == reported
    # The recorder writes in a thread of its own, so the last goodbye may be on record a moment later.
    wait_until(lambda: cluster.history().counts().get(h.LEFT) == 2, what="both goodbyes on record")
    counts = cluster.history().counts()
    assert (counts.get(h.LOST, 0), counts.get(h.FAILED, 0)) == (0, 0)


def test_cluster_outside_the_limits_is_scaled_into_them(cluster: Cluster) -> None:
    with cluster.autoscale(Limits(least=2, most=2)):
        wait_until(lambda: up(cluster) == ["worker-1", "worker-2"], 20, "the second worker")


def test_without_a_broker_the_autoscaler_waits_and_then_continues(cluster: Cluster) -> None:
    with cluster.client() as client, cluster.autoscale(QUICK) as autoscaling:
        cluster.kill("broker")
        futures = [client.submit(jobs.sleep_for, 0.03) for _ in range(150)]
        wait_until(lambda: cluster.status()["broker"] is None, what="a status without a broker")
        assert not autoscaling.decisions
        cluster.start("broker")
        wait_until(lambda: autoscaling.decisions, 20, "a decision")
        assert len([future.result(30) for future in futures]) == 150
        assert autoscaling.is_running and autoscaling.error is None


def test_autoscaler_ends_with_the_cluster_and_names_the_reason() -> None:
    with open_cluster(1, redis=False) as cluster:
        autoscaling = cluster.autoscale(QUICK)
    autoscaling.join(10)
    assert not autoscaling.is_running
    assert isinstance(autoscaling.error, ClusterError)
    autoscaling.close()


def test_busy_supervisor_does_not_end_the_autoscaler(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, missed = cluster.status, threading.Event()

    def busy() -> ClusterStatus:
        if missed.is_set():
            return status()
        missed.set()
        raise TimedOut("it was asked for its status")

    monkeypatch.setattr(cluster, "status", busy)
    with cluster.autoscale(Limits(least=2, most=2)) as autoscaling:
        wait_until(lambda: autoscaling.decisions or autoscaling.error, 20, "a decision")
        assert missed.is_set() and autoscaling.error is None


def test_error_in_on_decision_ends_the_autoscaler(cluster: Cluster) -> None:
    def full(_decision: Decision) -> None:
        raise OSError("no space")

    with cluster.autoscale(Limits(least=2, most=2), full) as autoscaling:
        autoscaling.join(20)
        assert not autoscaling.is_running
    assert isinstance(autoscaling.error, OSError)


def test_more_workers_than_a_cluster_can_have_are_refused(cluster: Cluster) -> None:
    with pytest.raises(InvalidInput, match="cannot have 100000 workers"):
        cluster.autoscale(Limits(most=100_000))


# --- the command --------------------------------------------------------------------------------------------


def test_command_prints_each_step_until_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    lab = Commands(capsys)
    with background_cluster(tmp_path, "--workers", 1):
        steering = command("autoscale", "--min", 2, "--max", 3)
        try:
            assert steering.stdout is not None
            assert "Keeps 2 to 3 workers" in steering.stdout.readline()
            assert "1 → 2 workers: 0 tasks are open" in steering.stdout.readline()
            steering.send_signal(signal.SIGINT)
            out, err = steering.communicate(timeout=20)
        finally:
            steering.kill()
            steering.wait()
        assert (steering.returncode, err) == (130, "")
        assert "The cluster keeps its present size." in out
        assert len(lab.done("status", "--json").json()["workers"]) == 2
        steering = command("autoscale", "--max", 1, "--json")
        try:
            assert steering.stdout is not None
            decision = json.loads(steering.stdout.readline())
            assert decision == {"size": 1, "before": 2, "open_tasks": 0, "work_s": 0.0}
            lab.done("down")
            _out, err = steering.communicate(timeout=20)
        finally:
            steering.kill()
            steering.wait()
        assert steering.returncode == 1
        assert err.count("\n") == 1 and "up starts" in err


def test_command_ends_when_its_output_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    with background_cluster(tmp_path, "--workers", 1):
        steering = command("autoscale", "--min", 2, "--max", 3)
        try:
            assert steering.stdout is not None
            assert "Keeps 2 to 3 workers" in steering.stdout.readline()
            steering.stdout.close()  # as `head -1` does
            steering.stdout = None
            _out, err = steering.communicate(timeout=20)
        finally:
            steering.kill()
            steering.wait()
        assert (steering.returncode, err) == (141, "")


def test_impossible_limits_are_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    lab = Commands(capsys)
    assert "between 3 and 2 workers" in lab.refused("autoscale", "--min", 3, "--max", 2, code=2)
    assert "target_s must be" in lab.refused("autoscale", "--target", 0, code=2)
