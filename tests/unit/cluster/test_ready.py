"""Waiting until a cluster is ready: a process that is well now does not count, whatever happened before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from labkit.cluster import readiness
from labkit.cluster.readiness import wait_for_api, wait_until_ready
from labkit.core.errors import ClusterError


def row(name: str, short_lives: int = 0, state: str = "running", **changed: Any) -> dict[str, Any]:
    kind = name.partition("-")[0]
    return {
        "name": name, "kind": kind, "state": state, "pid": 7, "restarts": short_lives, "up_s": 25.0,
        "short_lives": short_lives, "last_exit": "SIGKILL", "restart_in_s": None, **changed,
    }  # fmt: skip


class Backend:
    """A backend with these rows, and a log whose last line is innocent."""

    knows_worker_pids = True
    is_private = False
    kind = "local"
    endpoints = SimpleNamespace(name="default")

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows

    def status(self) -> dict[str, Any]:
        return {"processes": self.rows}

    def last_line(self, _name: str) -> str:
        return "serving tasks"


def wait_for(*rows: dict[str, Any], ready: tuple[str, ...], timeout_s: float, broker: bool = True) -> None:
    workers = [{"id": name, "status": "ready", "pid": 7} for name in ready]
    snapshot: Any = {"workers": workers} if broker else None
    backend: Any = Backend(*rows)
    wait_until_ready(backend, lambda _deadline: snapshot, timeout_s)


@pytest.mark.parametrize("troubled", ["worker-1", "broker", "redis"])
def test_a_healthy_cluster_is_ready_whatever_happened_before(troubled: str) -> None:
    rows = [row(name, 5 if name == troubled else 0) for name in ("broker", "redis", "worker-1")]
    wait_for(*rows, ready=("worker-1",), timeout_s=0.0)


def test_a_worker_that_is_not_ready_and_keeps_ending_is_named() -> None:
    rows = row("broker"), row("worker-1", 3), row("worker-2", 3)
    with pytest.raises(ClusterError, match=r"worker-2 keeps ending"):
        wait_for(*rows, ready=("worker-1",), timeout_s=5.0)


def test_a_broker_that_does_not_answer_and_keeps_ending_is_named() -> None:
    with pytest.raises(ClusterError, match=r"broker keeps ending"):
        wait_for(row("broker", 3), row("worker-1", 5), ready=(), timeout_s=5.0, broker=False)


# --- the HTTP side ---


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "answers", lambda port: False)


@pytest.mark.parametrize("state", ["running", "restarting", "killed"])
def test_a_cluster_is_ready_without_its_http_side(state: str) -> None:
    rows = row("broker"), row("worker-1"), row("api", 7, state)
    wait_for(*rows, ready=("worker-1",), timeout_s=0.0)


def test_an_http_side_that_answers_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answers(port: int) -> bool:
        asked.append(port)
        return len(asked) == 3

    monkeypatch.setattr(readiness, "answers", answers)
    backend: Any = Backend(row("broker"), row("api"))
    wait_for_api(backend, 8123, 30.0)
    assert asked == [8123] * 3


@pytest.mark.parametrize(
    ("api", "reason"),
    [
        (row("api", state="killed"), "down; python -m labkit start api"),
        (row("api", 3, "restarting", last_exit="exit 1"), r"api keeps ending .exit 1.: serving tasks"),
        (row("api", 1, "restarting", last_exit="exit 73"), r"api keeps ending .exit 73."),
        (row("api", last_exit=""), "did not answer within 0 s; python -m labkit logs api shows why"),
    ],
)
@pytest.mark.usefixtures("silent")
def test_why_the_http_side_does_not_answer(api: dict[str, Any], reason: str) -> None:
    backend: Any = Backend(row("broker"), api)
    with pytest.raises(ClusterError, match=reason):
        wait_for_api(backend, 8123, 0.0)
