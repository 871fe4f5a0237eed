"""The cluster seen from inside: the handle of a notebook in the ``lab`` container.

It talks to the broker like any client, reads the history that the broker writes (from a volume that is
read-only here), and causes faults through the agents' sockets (``labkit.cluster.compose.agent``). It has no
Docker. So ``scale``, ``logs`` and ``down`` raise an error with the command to run on the host. ``close`` only
closes the handle.

A container that is down has no agent. Its process is shown as ``stopped``, and only the host can start it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labkit.cluster.cluster import Cluster
from labkit.cluster.compose import containers
from labkit.cluster.processes import STOPPED, WORKER
from labkit.cluster.supervisor import control
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.security.credentials import of_client
from labkit.support.settings import Settings

ASK_S = 2.0
STOP_S = 15.0
SUFFIX = ".sock"


class InsideCluster(Cluster):
    """A handle on the cluster to which this ``lab`` container belongs."""

    backend = "compose"

    def __init__(self, settings: Settings) -> None:
        assert settings.control is not None and settings.folder is not None
        super().__init__(
            settings.cluster,
            settings.folder,
            "tcp://broker:5555",
            "tcp://broker:5557",
            settings.redis_url,
            of_client(settings),
        )
        self._sockets: Path = settings.control
        self._unrecorded: list[dict[str, Any]] = []

    # --- the backend's part ---------------------------------------------------------------------------------

    def _rows(self) -> list[containers.Row]:
        rows = []
        for path in self._sockets.rglob("*" + SUFFIX):
            name = path.name.removesuffix(SUFFIX)
            try:
                rows.append(control.ask(path, "", "status", ASK_S))
            except (ClusterNotRunning, control.TimedOut):  # its container is down, or frozen
                if name == "broker" or name in containers.NAMED_WORKERS:
                    rows.append(_down(name))
        return sorted(rows, key=lambda row: (row["kind"] == WORKER, row["name"]))

    def _backend_status(self) -> dict[str, Any]:
        return {"processes": self._rows(), "unrecorded_faults": list(self._unrecorded)}

    def _backend_check(self, fault: str, name: str) -> str:
        rows = self._rows()
        row = containers.find(rows, name)
        if row.get("container", "") is None:
            raise self._only_from_the_host(f"docker-compose start {name}")
        control.ask(self._socket(name), "", "check", ASK_S, fault=fault)
        return next((str(row["state"]) for row in rows if row["kind"] == "broker"), "none")

    def _backend_act(self, fault: str, name: str, recorded: bool) -> None:
        if not recorded:
            self._unrecorded.append({"fault": fault, "target": name})
        control.ask(self._socket(name), "", "act", STOP_S if fault == "stop" else ASK_S, fault=fault)

    def _socket(self, name: str) -> Path:
        found = self._sockets.rglob(f"{name}{SUFFIX}")
        return next(found, self._sockets / f"{name}{SUFFIX}")

    # --- only on the host -----------------------------------------------------------------------------------

    def scale(self, n: int) -> list[str]:
        elastic = max(0, n - len(containers.NAMED_WORKERS))
        more = f"--scale {containers.ELASTIC}={elastic}"
        raise self._only_from_the_host(f"docker-compose up -d --no-recreate {more}")

    def logs(self, worker: str | None = None, lines: int = 50) -> str:
        raise self._only_from_the_host(f"docker-compose logs --tail {lines} {worker or ''}".rstrip())

    def down(self) -> None:
        raise self._only_from_the_host("docker-compose down")

    def _only_from_the_host(self, command: str) -> ClusterError:
        return ClusterError(
            N_("run this on the machine outside the container, in the lab's folder: {command}"),
            command=command,
        )

    def _why_not_ready(self, row: dict[str, Any]) -> ClusterError:
        return ClusterError(
            N_("{name} keeps ending ({last_exit}): {line}"),
            name=row["name"],
            last_exit=row["last_exit"],
            line=f"docker-compose logs {row['name']}",
        )

    def _owns_cluster(self) -> bool:
        return False


def _down(name: str) -> containers.Row:
    """Return the row of a process whose container does not answer."""
    return {
        "name": name,
        "kind": "broker" if name == "broker" else WORKER,
        "state": STOPPED,
        "pid": None,
        "restarts": 0,
        "short_lives": 0,
        "last_exit": "",
        "restart_in_s": None,
        "up_s": None,
        "container": None,
    }
