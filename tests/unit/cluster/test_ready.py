"""Waiting until a cluster is ready: what is well is not blamed for its past."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cluster.cluster import Cluster
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

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows

    def status(self) -> dict[str, Any]:
        return {"processes": self.rows}

    def last_line(self, _name: str) -> str:
        return "serving tasks"


def waiting_for(*rows: dict[str, Any], ready: tuple[str, ...], broker: bool = True) -> Cluster:
    cluster = object.__new__(Cluster)
    cluster._backend = Backend(*rows)  # type: ignore[assignment]
    workers = [{"id": name, "status": "ready", "pid": 7} for name in ready]
    snapshot: dict[str, Any] | None = {"workers": workers} if broker else None
    cluster._first_broker_status = lambda deadline: snapshot  # type: ignore[method-assign]
    return cluster


@pytest.mark.parametrize("troubled", ["worker-1", "broker", "redis"])
def test_a_healthy_cluster_is_ready_whatever_happened_before(troubled: str) -> None:
    rows = [row(name, 5 if name == troubled else 0) for name in ("broker", "redis", "worker-1")]
    waiting_for(*rows, ready=("worker-1",)).wait_until_ready(0.0)


def test_a_worker_that_is_not_ready_and_keeps_ending_is_named() -> None:
    cluster = waiting_for(row("broker"), row("worker-1", 3), row("worker-2", 3), ready=("worker-1",))
    with pytest.raises(ClusterError, match=r"worker-2 keeps ending"):
        cluster.wait_until_ready(5.0)


def test_a_broker_that_does_not_answer_and_keeps_ending_is_named() -> None:
    cluster = waiting_for(row("broker", 3), row("worker-1", 5), ready=(), broker=False)
    with pytest.raises(ClusterError, match=r"broker keeps ending"):
        cluster.wait_until_ready(5.0)
