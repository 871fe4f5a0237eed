"""Two views of a cluster's processes, joined: what their parent knows, and what the broker thinks.

They may disagree, and neither is wrong: a frozen worker's process is there while the broker has given it up.
A row is one process as ``Cluster._backend_status`` lists it; the picture is the broker's own, or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit.cluster.status_text import STATES


@dataclass(frozen=True)
class WorkerInfo:
    """One worker: what its process does, and what the broker thinks of it."""

    name: str
    process: str
    """running, paused, stopping, restarting, stopped or killed; elsewhere, if it is no process of ours."""
    status: str = "absent"
    """The broker's word: ready, busy, suspect, draining, lost, left; absent if it knows no such worker."""
    pid: int | None = None
    restarts: int = 0
    last_exit: str = ""
    """How its last process ended: "exit 86", "SIGKILL"; empty if none has."""
    restart_in_s: float | None = None
    """It keeps ending within seconds of its start, and is given a pause of this length."""
    capabilities: list[str] = field(default_factory=list)
    tasks_completed: int = 0
    in_flight: int = 0
    slots: int = 1
    last_heartbeat_age_s: float | None = None


def recovery_command(rows: list[dict[str, Any]], name: str) -> str:
    """Return the command that brings the process back: resume, start, or "" if it is not down by command."""
    state = next((row["state"] for row in rows if row["name"] == name), "")
    return STATES[state].recovery if state in STATES else ""


def guests(rows: list[dict[str, Any]], picture: dict[str, Any] | None) -> list[WorkerInfo]:
    """The living workers that are no process of this cluster's: somebody started them, here or elsewhere."""
    ours = {row["name"] for row in rows}
    return [
        WorkerInfo(name=row["id"], process="elsewhere", pid=row["pid"], **{key: row[key] for key in _SHOWN})
        for row in (picture or {}).get("workers", [])
        if row["id"] not in ours and row["status"] in ("ready", "busy", "suspect", "draining")
    ]


_SHOWN = ("status", "capabilities", "tasks_completed", "in_flight", "slots", "last_heartbeat_age_s")


def joined(rows: list[dict[str, Any]], picture: dict[str, Any] | None) -> list[WorkerInfo]:
    """The workers' processes, each with what the broker thinks of it."""
    known = {row["id"]: row for row in (picture or {}).get("workers", [])}
    return [
        WorkerInfo(
            name=row["name"], process=row["state"], pid=row["pid"], restarts=row["restarts"],
            last_exit=row["last_exit"], restart_in_s=row["restart_in_s"],
            **{key: known[row["name"]][key] for key in _SHOWN if row["name"] in known},
        )
        for row in rows
        if row["kind"] == "worker"
    ]  # fmt: skip
