"""The status of a cluster: what its backend knows of the processes, joined with the broker's view of them.

Both may disagree, and neither is wrong: the process of a frozen worker exists while the broker has given the
worker up. ``rows`` are a backend's processes; ``snapshot`` is the broker's own status, or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from labkit.cluster.backend import BackendStatus
from labkit.cluster.processes import ProcessRow
from labkit.cluster.status_text import STATES

BrokerStatus = dict[str, Any]
"""What the broker reports of itself: workers, queued, assigned, clients, mirror, counters."""


@dataclass(frozen=True)
class WorkerInfo:
    """One worker: the state of its process, and what the broker knows about it."""

    name: str
    process: str
    """running, paused, stopping, restarting, stopped or killed; elsewhere, if it is no process of ours."""
    status: str = "absent"
    """The broker's word: ready, busy, suspect, draining, lost, left; absent if it knows no such worker."""
    container: str = ""
    """The name of its container, as ``docker ps`` shows it; empty for a local process."""
    pid: int | None = None
    restarts: int = 0
    last_exit: str = ""
    """How its last process ended: "exit 86", "SIGKILL"; empty if none has."""
    restart_in_s: float | None = None
    """The pause before its next start, while it keeps ending within seconds."""
    capabilities: list[str] = field(default_factory=list)
    tasks_completed: int = 0
    in_flight: int = 0
    slots: int = 1
    last_heartbeat_age_s: float | None = None


class WorkerRow(TypedDict):
    """``WorkerInfo`` as JSON."""

    name: str
    process: str
    status: str
    container: str
    pid: int | None
    restarts: int
    last_exit: str
    restart_in_s: float | None
    capabilities: list[str]
    tasks_completed: int
    in_flight: int
    slots: int
    last_heartbeat_age_s: float | None


class ClusterStatus(BackendStatus):
    """Everything about a cluster, ready for JSON; ``Cluster.status`` returns it."""

    cluster: str
    backend: str
    folder: str
    address: str
    event_address: str
    redis_url: str | None
    """Without its password."""
    api_url: str | None
    """Where the HTTP side listens; None: there is none."""
    workers: list[WorkerRow]
    guests: list[WorkerRow]
    """Workers that joined from elsewhere."""
    broker: BrokerStatus | None
    broker_error: str | None
    """Why ``broker`` is None."""


def recovery_command(rows: Sequence[ProcessRow], name: str) -> str:
    """Return the command that brings the process back: resume, start, or "" if it is not down by command.

    It is up for a container that was never started, as when its port was taken, and for a broker whose
    container was removed: ``up`` makes it anew.
    """
    row = next((row for row in rows if row["name"] == name), None)
    is_missing = row is None and name == "broker" and bool(rows)
    if is_missing or (row is not None and row.get("unstarted")):
        return "up"
    state = "" if row is None else row["state"]
    return STATES[state].recovery if state in STATES else ""


def guests(rows: Sequence[ProcessRow], snapshot: BrokerStatus | None) -> list[WorkerInfo]:
    """Return the living workers that are no processes of this cluster: they were started elsewhere."""
    ours = {row["name"] for row in rows}
    return [
        WorkerInfo(name=row["id"], process="elsewhere", pid=row["pid"], **{key: row[key] for key in _SHOWN})
        for row in (snapshot or {}).get("workers", [])
        if row["id"] not in ours and row["status"] in ("ready", "busy", "suspect", "draining")
    ]


_SHOWN = ("status", "capabilities", "tasks_completed", "in_flight", "slots", "last_heartbeat_age_s")


def joined(rows: Sequence[ProcessRow], snapshot: BrokerStatus | None) -> list[WorkerInfo]:
    """Return the cluster's own workers, each with what the broker knows about it."""
    known = {row["id"]: row for row in (snapshot or {}).get("workers", [])}
    return [
        WorkerInfo(
            name=row["name"],
            process=row["state"],
            container=row.get("container_name", ""),
            pid=row["pid"],
            restarts=row["restarts"],
            last_exit=row["last_exit"],
            restart_in_s=row["restart_in_s"],
            **{key: known[row["name"]][key] for key in _SHOWN if row["name"] in known},
        )
        for row in rows
        if row["kind"] == "worker"
    ]
