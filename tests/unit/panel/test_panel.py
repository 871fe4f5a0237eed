"""The panel's life: what it starts, shows and ends, without a browser."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit.cluster.status_text import COMMANDS
from labkit.core.errors import BrokerUnreachable, ClusterError, ClusterNotRunning
from labkit.core.history import Event
from labkit.panel import Panel
from labkit.panel.panel import FRONTEND
from tests.tools.panel_moments import status, worker
from tests.tools.waiting import wait_until


class MadeCluster:
    """The part of a cluster that a panel uses. A test may replace each answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Callable[[], dict[str, Any]] = lambda: status(worker("worker-1"), worker("worker-2"))
        self.obstacle: Callable[[str, str], object] = lambda fault, name: None
        self.events: list[Event] = []

    def event_file(self) -> MadeCluster:
        return self

    def stream(self) -> list[Event]:
        new, self.events = self.events, []
        return new

    def status(self) -> dict[str, Any]:
        return self.answer()

    def scale(self, n: int) -> None:
        self.asked.append(("scale", n))

    def __getattr__(self, fault: str) -> Any:
        if fault not in COMMANDS:
            raise AttributeError(fault)

        def act(name: str) -> None:
            self.asked.append((fault, name))
            self.obstacle(fault, name)

        return act


@pytest.fixture
def cluster() -> MadeCluster:
    return MadeCluster()


@pytest.fixture
def live(cluster: MadeCluster) -> Iterator[Panel]:
    panel = Panel(cluster, live=True)  # type: ignore[arg-type]
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()
    yield panel
    panel.close()
    assert not [t for t in threading.enumerate() if t.name == "labkit-panel"]


def beats(panel: Panel) -> str:
    assert panel._board is not None
    return str(panel._board._beat.value)


def said(panel: Panel) -> str:
    assert panel._board is not None
    return str(panel._board._said.value)


def test_panel_without_a_frontend_is_static_and_starts_nothing(
    cluster: MadeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FRONTEND, raising=False)
    before = threading.active_count()
    panel = Panel(cluster)  # type: ignore[arg-type]
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "worker-1" in bundle["text/plain"] and "with buttons" in bundle["text/html"]
    assert "lk-curtain" not in bundle["text/html"].split("</style>")[1]
    assert threading.active_count() == before and not panel.is_live
    panel.close()


def test_kernel_that_a_server_started_for_a_notebook_has_a_frontend(
    cluster: MadeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FRONTEND, "day3.ipynb")
    panel = Panel(cluster)  # type: ignore[arg-type]
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_() and panel.is_live
    panel.close()
    assert "application/vnd.jupyter.widget-view+json" not in panel._repr_mimebundle_()


def test_panel_that_is_never_shown_starts_nothing(cluster: MadeCluster) -> None:
    before = threading.active_count()
    Panel(cluster, live=True).close()  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_panel_shown_twice_has_one_thread(live: Panel) -> None:
    live._repr_mimebundle_()
    assert [t.name for t in threading.enumerate()].count("labkit-panel") == 1


def test_live_panel_beats_and_a_closed_one_shows_the_reason(live: Panel) -> None:
    first = beats(live)
    wait_until(lambda: beats(live) != first, 5.0, "the next heartbeat")
    live.close("because of a test")
    assert not live.is_live and "because of a test" in beats(live)


def test_command_never_blocks_and_is_shown_while_it_runs(live: Panel, cluster: MadeCluster) -> None:
    hold = threading.Event()
    cluster.obstacle = lambda fault, name: hold.wait(10.0)
    began = time.monotonic()
    live.command("stop", "worker-1")
    live.command("stop", "worker-1")
    live.command("start", "worker-1")
    assert time.monotonic() - began < 5.0
    assert live._board is not None
    face = live._board._faces["worker-1"]
    wait_until(lambda: "stop …" in face.value, 5.0, "the card to show the running command")
    assert cluster.asked == [("stop", "worker-1")]
    live.command("kill", "worker-1")
    wait_until(lambda: ("kill", "worker-1") in cluster.asked, 5.0, "the kill that cuts the stop short")
    hold.set()
    wait_until(lambda: "…" not in face.value, 5.0, "the card to show no command")


def test_error_is_shown_in_words_and_the_panel_goes_on(live: Panel, cluster: MadeCluster) -> None:
    def refuse(fault: str, name: str) -> None:
        text = "{name} is {state}: {fault} does not apply"
        raise ClusterError(text, name=name, state="killed", fault=fault)

    cluster.obstacle = refuse
    live.command("pause", "worker-2")
    expected = "worker-2 is killed: pause does not apply"
    wait_until(lambda: expected in said(live), 5.0, "the error on the panel")
    cluster.obstacle = lambda fault, name: None
    live.command("pause", "worker-2")
    wait_until(lambda: said(live) == "", 5.0, "the error to go with the next command")
    assert live.is_live


def test_bug_in_a_command_is_shown_and_logged(
    live: Panel, cluster: MadeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(fault: str, name: str) -> None:
        raise ZeroDivisionError("planted")

    cluster.obstacle = break_down
    live.command("kill", "worker-1")
    wait_until(lambda: "ZeroDivisionError: planted" in said(live), 5.0, "the bug on the panel")
    assert "planted" in caplog.text and live.is_live


def test_panel_of_a_cluster_that_goes_down_shows_it_and_ends(live: Panel, cluster: MadeCluster) -> None:
    def down() -> dict[str, Any]:
        raise ClusterNotRunning("no cluster")

    cluster.answer = down
    wait_until(lambda: not live.is_live, 5.0, "the panel to end")
    wait_until(
        lambda: "The cluster of this panel is down." in beats(live), 5.0, "the panel to show the reason"
    )


def test_cluster_without_an_answer_stops_the_heartbeat_until_it_answers(
    live: Panel, cluster: MadeCluster
) -> None:
    good = cluster.answer

    def silent() -> dict[str, Any]:
        raise BrokerUnreachable("no answer")

    cluster.answer = silent
    wait_until(lambda: "no answer" in said(live), 5.0, "the panel to show it")
    still = beats(live)
    cluster.answer = good
    wait_until(lambda: beats(live) != still and said(live) == "", 5.0, "the panel to go on")


def test_slider_scales_the_cluster_without_waiting(live: Panel, cluster: MadeCluster) -> None:
    assert live._board is not None
    live._board._slider.value = 4
    wait_until(lambda: ("scale", 4) in cluster.asked, 5.0, "the cluster to be scaled")


def test_panel_of_a_gone_cluster_shows_the_error_and_raises_nothing(cluster: MadeCluster) -> None:
    def down() -> dict[str, Any]:
        raise ClusterNotRunning("no cluster")

    cluster.answer = down
    panel = Panel(cluster, live=True)  # type: ignore[arg-type]
    assert panel._repr_mimebundle_()["text/plain"] == "no cluster" == repr(panel)
    assert not panel.is_live


def test_the_widgets_are_not_loaded_by_a_clusters_own_processes() -> None:
    code = "import sys, labkit.cluster.local.start as _, labkit.cluster.supervisor.supervisor; "
    code += "sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
