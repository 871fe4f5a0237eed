"""The panel on a real cluster, without a browser: what a click does, what is seen of it, and what stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from labkit.cluster import Cluster, open_cluster
from labkit.core.errors import ClusterNotRunning
from labkit.jobs import sleep_for
from labkit.panel import Panel
from tests.tools.waiting import wait_until

PATIENCE_S = 15.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with open_cluster(workers=2, redis=False) as cluster:
        yield cluster


@pytest.fixture
def panel(cluster: Cluster) -> Panel:
    panel = cluster.panel(live=True, work=True)
    panel._repr_mimebundle_()
    return panel


def face(panel: Panel, name: str) -> str:
    assert panel._board is not None
    return str(panel._board._faces[name].value)


def log_of(panel: Panel) -> str:
    assert panel._board is not None
    return str(panel._board._log.value)


def until_seen(panel: Panel, name: str, words: str) -> None:
    wait_until(lambda: words in face(panel, name), PATIENCE_S, f"{name}'s card to show {words!r}")


def panel_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("labkit-panel")]


def test_killed_worker_is_shown_lost_and_a_start_brings_it_back(panel: Panel) -> None:
    wait_until(lambda: panel._feed.done("worker-2") > 0, PATIENCE_S, "worker-2 to be at work")
    panel.command("kill", "worker-2")
    until_seen(panel, "worker-2", "killed, lost")
    wait_until(lambda: "worker-2 no longer has it" in log_of(panel), PATIENCE_S, "the requeue in the log")
    done = panel._feed.done("worker-2")
    panel.command("start", "worker-2")
    wait_until(lambda: panel._feed.done("worker-2") > done, PATIENCE_S, "worker-2 to work again")


def test_frozen_worker_shows_that_process_and_broker_disagree(panel: Panel) -> None:
    panel.command("pause", "worker-1")
    until_seen(panel, "worker-1", "frozen, lost")
    panel.command("resume", "worker-1")
    wait_until(lambda: "frozen" not in face(panel, "worker-1"), PATIENCE_S, "it to wake")


def test_command_that_does_not_apply_is_shown_as_an_error(panel: Panel) -> None:
    assert panel._board is not None
    board = panel._board
    panel.command("resume", "worker-1")
    wait_until(lambda: "resume does not apply" in board._said.value, PATIENCE_S, "the error on the panel")


def test_the_slider_adds_a_card(panel: Panel) -> None:
    panel.scale(3)
    board = panel._board
    assert board is not None
    wait_until(lambda: "worker-3" in board._faces, PATIENCE_S, "the third card")


def test_killed_broker_is_shown_and_the_panel_goes_on(panel: Panel) -> None:
    board = panel._board
    assert board is not None
    panel.command("kill", "broker")
    wait_until(lambda: "The broker is killed" in board._head.value, PATIENCE_S, "the news of the broker")
    panel.command("start", "broker")
    wait_until(lambda: "The broker" not in board._head.value, PATIENCE_S, "the broker to be back")
    done = panel._feed.total
    wait_until(lambda: panel._feed.total > done, PATIENCE_S, "the work to go on")


def test_newer_panel_closes_the_one_before_it(cluster: Cluster, panel: Panel) -> None:
    newer = cluster.panel(live=True)
    newer._repr_mimebundle_()
    assert not panel.is_live and newer.is_live
    former = panel._board
    assert former is not None and "There is a newer panel" in former._beat.value
    wait_until(lambda: "lk-early" in former._beat.value, PATIENCE_S, "the newer panel to beat for it")
    assert panel_threads() == ["labkit-panel"]
    newer.close("The end.")
    assert "The end." in former._beat.value and "newer" not in former._beat.value


def test_closing_the_cluster_ends_the_panels_thread_and_its_client(cluster: Cluster, panel: Panel) -> None:
    wait_until(lambda: panel._load is not None, PATIENCE_S, "the panel to send work")
    cluster.close()
    assert panel_threads() == [] and not panel.is_live
    assert panel._board is not None and "has been closed" in panel._board._beat.value
    with pytest.raises(ClusterNotRunning):
        cluster.status()


def test_closing_does_not_wait_for_a_running_polite_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DRAIN_S", "120")
    with open_cluster(workers=1, redis=False) as cluster, cluster.client() as client:
        panel = cluster.panel(live=True)
        panel._repr_mimebundle_()
        running = client.submit(sleep_for, 100)
        wait_until(running.running, PATIENCE_S, "the task to run")
        panel.command("stop", "worker-1")
        until_seen(panel, "worker-1", "stopping")
        began = time.monotonic()
        cluster.close()
        assert time.monotonic() - began < 60.0
    wait_until(lambda: "labkit-stop" not in [t.name for t in threading.enumerate()], 5.0, "its thread to end")
