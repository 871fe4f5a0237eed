"""A small load on a real cluster, through the client and over HTTP, with a kill in the middle."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from labkit.cli import output
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until


class Lab:
    """Runs commands on one background cluster in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LABKIT_")},
            "LABKIT_HOME": str(home),
            "LABKIT_LANG": "en",
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "labkit", *words],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def done(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out if code == 0 else out + err

    def states(self) -> set[str]:
        """Return the states of the workers, as the broker sees them."""
        return {row["status"] for row in json.loads(self.done("status", "--json"))["workers"]}

    def completed(self) -> int:
        """Return how many tasks the workers have completed."""
        return sum(row["tasks_completed"] for row in json.loads(self.done("status", "--json"))["workers"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("home"))
    lab.done("up", "--workers", "2")
    try:
        yield lab
    finally:
        lab.done("down")


def test_a_kill_in_the_middle_loses_nothing_and_its_cost_is_shown(lab: Lab, tmp_path: Path) -> None:
    chart = tmp_path / "load.png"
    words = ("--rate", "15", "--seconds", "4", "--kill-after", "1", "--chart", str(chart))
    answer = json.loads(lab.done("stress", "sustained", *words, "--json"))
    figures = answer["report"]
    assert (figures["tasks"], figures["errors"]) == (60, {})
    assert sum(figures["by_worker"].values()) == 60 and figures["waiting_s"]["p95"] >= 0
    assert answer["fault"]["worker"] in ("worker-1", "worker-2")
    assert answer["fault"]["held"] >= 1 and answer["fault"]["lost"] == 0
    assert answer["fault"]["detection_s"] >= 0 and answer["fault"]["first_result_elsewhere_s"] > 0
    assert Image.open(io.BytesIO(chart.read_bytes())).size[0] == 1000
    wait_until(lambda: lab.states() <= {"ready", "busy"}, 20.0, "the killed worker is back")


def test_the_same_load_goes_over_http(lab: Lab) -> None:
    over_http = ("--through", "api", "--json")
    answer = json.loads(lab.done("stress", "continuous", "--tasks", "20", "--rate", "20", *over_http))
    figures = answer["report"]
    assert figures["errors"] == {} and sum(figures["by_worker"].values()) == figures["tasks"]
    assert figures["service_s"]["p50"] > 0, "the gateway hands the worker's own time on"


def test_without_an_http_side_there_is_one_clear_line(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    said = lab.done("stress", "simple", "--through", "api", "--port", port, code=1)
    assert f"{output.call()} api" in said and len(said.strip().splitlines()) == 1


def test_ctrl_c_ends_a_load_with_the_figures_so_far(lab: Lab) -> None:
    before = lab.completed()
    load = lab.start("stress", "sustained", "--rate", "20", "--seconds", "600", "--json")
    wait_until(lambda: lab.completed() > before, 30.0, "the load's first results")
    load.send_signal(signal.SIGINT)
    out, err = load.communicate(timeout=30)
    assert load.returncode == 130 and err == ""
    answer = json.loads(out)
    assert answer["interrupted"] and 0 < answer["report"]["tasks"] < 12_000
    assert json.loads(lab.done("status", "--json"))["broker"]["queued"] == 0


def test_in_a_terminal_the_figures_are_live(lab: Lab) -> None:
    require(sys.platform != "win32", "a pseudo terminal")
    import pty

    terminal, inner = pty.openpty()
    words = ("stress", "simple", "--rate", "10", "--seconds", "2")
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "labkit", *words],
        env=lab.environment | {"TERM": "xterm", "COLUMNS": "120"}, stdin=subprocess.DEVNULL, stdout=inner,
    ) as process:  # fmt: skip
        os.close(inner)
        said = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while piece := os.read(terminal, 65_536):
                said += piece
    os.close(terminal)
    assert process.returncode == 0
    assert b"of 20 tasks sent" in said and b"results/s" in said
    assert b"tasks/s" in said.strip().splitlines()[-1]


def test_without_a_cluster_there_is_one_clear_line(tmp_path: Path) -> None:
    said = Lab(tmp_path).done("stress", "simple", code=1)
    assert len(said.strip().splitlines()) == 1 and f"{output.call()} up" in said


def test_without_a_worker_there_is_one_clear_line(lab: Lab) -> None:
    for name in ("worker-1", "worker-2"):
        lab.done("kill", name)
    said = lab.done("stress", "simple", code=1)
    assert len(said.strip().splitlines()) == 1 and "no worker" in said and "status" in said
    for name in ("worker-1", "worker-2"):
        lab.done("start", name)
