"""The cluster in containers, as a class uses it: the course's commands, and every fault of the table.

One project for all of them, in the order of this file; each test leaves three workers ready. Times are the
broker's, from its history; on one Linux machine all containers share the host's monotonic clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import cli, jobs
from labkit.client.client import Client
from labkit.cluster import Cluster
from labkit.core import history as h
from labkit.core.errors import AccessDenied
from labkit.core.history import Event
from labkit.security.credentials import Token, of_client
from labkit.support.settings import Settings
from tests.tools.docker_rig import ComposeProject, Load
from tests.tools.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("docker")]

PROMISED_DEAD_S = 2.5
PROMISED_BACK_S = 3.0
SLOW_S = 3.0
"""Extra time for a busy machine: the promises assume a free processor."""
THREE = ["worker-1", "worker-2", "worker-3"]


@pytest.fixture
def load(cluster: Cluster) -> Iterator[Load]:
    """Photographs in work; at the end all results are right, and the history breaks no rule."""
    cluster.wait_until_ready(30.0)
    with cluster.client("load") as client:
        work = Load(client)
        try:
            work.more(12)
            yield work
        finally:
            work.finish()
    assert wait_until(lambda: not _open(cluster), 5.0, "the outcomes in the history")
    assert [str(violation) for violation in cluster.history().check()] == []


def _open(cluster: Cluster) -> bool:
    return any(violation.rule == "no_outcome" for violation in cluster.history().check())


def since(cluster: Cluster, at: float, kind: str, worker: str = "") -> list[Event]:
    events = cluster.history().events
    return [e for e in events if e.at >= at and e.kind == kind and worker in ("", e.worker)]


def ready(cluster: Cluster) -> list[str]:
    return [w.name for w in cluster.workers() if w.process == "running" and w.status in ("ready", "busy")]


# --- the course's commands, word for word ---


def test_ps_shows_every_service_and_all_become_healthy(project: ComposeProject, cluster: Cluster) -> None:
    listed = project.type("docker-compose ps")
    for service in ("redis", "broker", "worker-1", "worker-2", "worker-3", "api", "lab"):
        assert f"-{service}-1 " in listed
    assert ready(cluster) == THREE
    project.wait_for_output("docker-compose logs worker-1", "worker-1 has joined tcp://broker:5556")

    def health() -> set[str]:
        return {row["health"] for row in cluster.status()["processes"]}

    wait_until(lambda: health() == {"healthy"}, 60.0, "every container to be healthy")


def test_a_stopped_worker_drains_and_comes_back_when_started(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    project.type("docker-compose stop worker-2")
    load.until(lambda: since(cluster, at, h.LEFT, "worker-2"), 5.0, "its leave")
    assert not since(cluster, at, h.LOST), "a polite stop is no fault"
    project.wait_for_output("docker-compose logs worker-2", "leaving: stopped")
    project.type("docker-compose start worker-2")
    load.until(lambda: ready(cluster) == THREE, 20.0, "worker-2 to be back")


def test_redis_shows_the_workers_at_its_published_port(project: ComposeProject, cluster: Cluster) -> None:
    assert project.redis_cli("LLEN image_tasks").strip() == "0"

    def shown() -> dict[str, dict[str, object]]:
        lines = project.redis_cli("HGETALL workers").splitlines()
        return {name: json.loads(text) for name, text in zip(lines[::2], lines[1::2], strict=True)}

    wait_until(lambda: set(shown()) == set(THREE), 10.0, "the mirror to show all three")
    workers = shown()
    assert workers["worker-1"]["id"] == "worker-1"
    assert {"capabilities", "last_heartbeat", "status", "tasks_completed"} <= set(workers["worker-1"])


# --- faults under load ---


def test_a_killed_worker_is_noticed_at_once_and_others_do_its_tasks(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    project.type("docker-compose kill worker-2")
    (lost,) = load.until(lambda: since(cluster, at, h.LOST, "worker-2"), 5.0, "its loss")
    assert lost.detail["cause"] == "closed", "a connection that closes needs no silence to be noticed"
    held = {e.task for e in since(cluster, at, h.REQUEUED, "worker-2")}
    assert held, "it was killed while it worked"
    first = load.until(
        lambda: [e for e in since(cluster, at, h.DONE) if e.task in held and e.worker != "worker-2"],
        30.0,
        "one of its tasks by another",
    )[0]
    assert first.at - lost.at < PROMISED_BACK_S + SLOW_S
    load.more(30)
    assert ready(cluster) == ["worker-1", "worker-3"], "two of three suffice, and it stays down"
    project.type("docker-compose start worker-2")
    load.until(lambda: ready(cluster) == THREE, 20.0, "worker-2 to be back")


def test_a_frozen_worker_is_lost_and_comes_back_as_a_new_one(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    project.type("docker-compose pause worker-3")
    frozen_at = time.monotonic()
    (lost,) = load.until(lambda: since(cluster, at, h.LOST, "worker-3"), 10.0, "its loss")
    assert lost.detail["cause"] == "silent"
    assert lost.at - frozen_at < PROMISED_DEAD_S + SLOW_S
    at = time.monotonic()
    project.type("docker-compose unpause worker-3")
    thawed_at = time.monotonic()
    joined = load.until(lambda: since(cluster, at, h.JOINED, "worker-3"), 10.0, "it to join anew")
    assert joined[0].at - thawed_at < PROMISED_BACK_S + SLOW_S


def test_a_worker_cut_off_from_the_network_is_lost_and_healed(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    network, container = f"{project.name}_work", project.container("worker-1")
    at = time.monotonic()
    project.type(f"docker network disconnect {network} {container}")
    cut_at = time.monotonic()
    (lost,) = load.until(lambda: since(cluster, at, h.LOST, "worker-1"), 10.0, "its loss")
    assert lost.detail["cause"] == "silent", "a cut connection reports nothing"
    assert lost.at - cut_at < PROMISED_DEAD_S + SLOW_S
    at = time.monotonic()
    project.type(f"docker network connect {network} {container}")
    load.until(lambda: since(cluster, at, h.JOINED, "worker-1"), 20.0, "it to join anew")


def test_a_broker_killed_and_started_loses_nothing(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    project.type("docker-compose kill broker")
    project.type("docker-compose start broker")

    def all_are_back() -> list[Event] | None:
        joined = since(cluster, at, h.JOINED)
        return joined if {event.worker for event in joined} == set(THREE) else None

    joined = load.until(all_are_back, 30.0, "all workers at the new broker")
    (started,) = since(cluster, at, h.BROKER_STARTED)
    assert max(event.at for event in joined) - started.at < PROMISED_BACK_S + SLOW_S
    load.more(12)


def test_redis_flushed_and_restarted_heals_while_tasks_go_on(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    assert project.redis_cli("FLUSHALL").strip() == "OK"
    load.until(lambda: project.redis_cli("HLEN workers").strip() == "3", 10.0, "the snapshot after FLUSHALL")
    project.type("docker-compose kill redis")
    load.more(12)
    project.type("docker-compose start redis")
    load.until(lambda: project.redis_cli("HLEN workers").strip() == "3", 10.0, "the snapshot after a restart")
    assert not since(cluster, at, h.LOST)


def test_elastic_workers_join_under_load_and_drain_when_they_go(
    project: ComposeProject, cluster: Cluster, load: Load
) -> None:
    at = time.monotonic()
    project.type("docker-compose up -d --scale worker=3")
    load.until(lambda: len(ready(cluster)) == 6, 30.0, "six workers")
    elastic = set(ready(cluster)) - set(THREE)
    load.until(
        lambda: {e.worker for e in since(cluster, at, h.DONE)} >= elastic, 30.0, "work for each of them"
    )
    project.type("docker-compose up -d --scale worker=0")
    load.until(lambda: {e.worker for e in since(cluster, at, h.LEFT)} == elastic, 10.0, "their leave")
    assert not since(cluster, at, h.LOST)
    assert ready(cluster) == THREE


# --- the backend's own functions ---


def test_a_client_without_a_key_is_refused_and_with_the_hosts_admitted(
    project: ComposeProject, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessDenied, match="takes no secret"):
        Client(cluster.address, Token("guessed"))
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", project.name)
    monkeypatch.setenv("LABKIT_KEYS", str(tmp_path / "keys"))
    assert cli.main(["keys", "import-compose"]) == 0
    with Client(cluster.address, of_client(Settings.from_environment())) as client:
        assert client.submit(jobs.add, 2, 3).result(10) == 5


def test_the_handle_scales_up_and_down(cluster: Cluster) -> None:
    at = time.monotonic()
    names = cluster.scale(4)
    assert names[:3] == THREE and len(names) == 4
    cluster.wait_until_ready(30.0)
    assert cluster.scale(2) == ["worker-1", "worker-2"]
    wait_until(
        lambda: [w.name for w in cluster.workers()] == ["worker-1", "worker-2"], 20.0, "the others to go"
    )
    assert cluster.scale(3) == THREE
    cluster.wait_until_ready(30.0)
    assert not since(cluster, at, h.LOST)


def test_a_fault_is_recorded_first_with_the_brokers_instant(cluster: Cluster) -> None:
    noted_at = cluster.kill("worker-2")
    (fault,) = since(cluster, noted_at, h.FAULT)
    assert fault.detail == {"fault": "kill", "target": "worker-2"} and fault.at == noted_at
    wait_until(lambda: since(cluster, noted_at, h.LOST, "worker-2"), 5.0, "its loss")
    row = next(row for row in cluster.status()["processes"] if row["name"] == "worker-2")
    assert (row["state"], row["last_exit"]) == ("killed", "SIGKILL")
    cluster.start("worker-2")
    cluster.wait_until_ready(20.0)


def test_a_broker_killed_through_the_handle_has_recorded_the_fault(cluster: Cluster) -> None:
    cluster.kill("broker")
    assert cluster.history().events[-1].detail == {"fault": "kill", "target": "broker"}
    assert cluster.status()["broker_error"] == "the broker is killed"
    cluster.start("broker")
    cluster.wait_until_ready(20.0)
    assert [e.kind for e in cluster.history().events].count(h.BROKER_STARTED) >= 2
