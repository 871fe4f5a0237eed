"""The cluster seen from inside: the handle of a notebook in the ``lab`` container, and of the HTTP side.

It talks to the broker like any client, reads the history that the broker writes (from a volume that is
read-only here), and causes faults through the agents' sockets (``labkit.cluster.compose.agent``). It has no
Docker. So ``scale``, ``logs`` and ``down`` raise an error with the command to run on the host. ``close`` only
closes the handle.

A container that is down has no agent. Its process is shown as ``stopped``, and only the host can start it.
"""

from __future__ import annotations

import functools
from pathlib import Path

from labkit.cluster.backend import BackendStatus, Endpoints
from labkit.cluster.compose import containers
from labkit.cluster.compose.keys import API_TOKEN
from labkit.cluster.compose.own_name import own_name
from labkit.cluster.compose.projects import PROJECT
from labkit.cluster.processes import API, BROKER, STOPPED, WORKER, ProcessRow, UnrecordedFault
from labkit.cluster.supervisor import control
from labkit.core.errors import N_, ClusterError, ClusterNotRunning
from labkit.security.credentials import of_client
from labkit.support.settings import Settings

ASK_S = 2.0
STOP_S = 15.0
SUFFIX = ".sock"


class InsideBackend:
    """The cluster to which this container, ``lab`` or ``api``, belongs."""

    kind = "compose"
    is_private = False
    shares_clock = True
    knows_worker_pids = True

    def __init__(self, settings: Settings) -> None:
        assert settings.control is not None and settings.folder is not None
        self.endpoints = Endpoints(
            name=settings.cluster,
            address="tcp://broker:5555",
            event_address="tcp://broker:5557",
            redis_url=settings.redis_url,
            credentials=of_client(settings),
        )
        self.folder = settings.folder
        self._keys = settings.keys
        self._sockets: Path = settings.control
        self._unrecorded: list[UnrecordedFault] = []

    def _rows(self) -> list[ProcessRow]:
        rows: list[ProcessRow] = []
        for path in self._sockets.rglob("*" + SUFFIX):
            name = path.name.removesuffix(SUFFIX)
            try:
                rows.append(control.ask(path, "", "status", ASK_S))
            except (ClusterNotRunning, control.TimedOut):  # its container is down, or frozen
                if name == "broker" or name in containers.NAMED_WORKERS:
                    rows.append(_down(name))
        named = containers.NAMED_WORKERS
        return sorted(
            rows, key=lambda row: (row["kind"] == WORKER, row["name"] not in named, _by_number(row["name"]))
        )

    def status(self) -> BackendStatus:
        """Return what the agents report."""
        return {"processes": self._rows(), "unrecorded_faults": list(self._unrecorded)}

    def check(self, fault: str, name: str) -> str:
        """Return the broker's state, if the command applies now."""
        rows = self._rows()
        row = containers.find(rows, name)
        if "container" in row:
            raise self._only_from_the_host(f"{_compose()} start {name}")
        control.ask(self._socket(name), "", "check", ASK_S, fault=fault)
        return next((str(row["state"]) for row in rows if row["kind"] == "broker"), "none")

    def find_broker(self) -> str:
        """Return the broker's address, which is always the same inside."""
        return self.endpoints.address

    def act(self, fault: str, name: str, recorded: bool) -> None:
        """Have the agent of the process carry the command out."""
        if not recorded:
            self._unrecorded.append({"fault": fault, "target": name})
        control.ask(self._socket(name), "", "act", STOP_S if fault == "stop" else ASK_S, fault=fault)

    def _socket(self, name: str) -> Path:
        found = self._sockets.rglob(f"{name}{SUFFIX}")
        return next(found, self._sockets / f"{name}{SUFFIX}")

    # --- only on the host -----------------------------------------------------------------------------------

    def scale(self, n: int) -> list[str]:
        """Raise the error with the command to run on the host."""
        elastic = max(0, n - len(containers.NAMED_WORKERS))
        more = f"--scale {containers.ELASTIC}={elastic}"
        raise self._only_from_the_host(f"{_compose()} up -d --no-recreate {more}")

    def logs(self, worker: str | None, lines: int) -> str:
        """Raise the error with the command to run on the host."""
        raise self._only_from_the_host(f"{_compose()} logs --tail {lines} {_service(worker)}".rstrip())

    def down(self) -> None:
        """Raise the error with the command to run on the host."""
        raise self._only_from_the_host(f"{_compose()} down")

    def _only_from_the_host(self, command: str) -> ClusterError:
        return ClusterError(
            N_("run this on the machine outside the container, in the lab's folder: {command}"),
            command=command,
        )

    def last_line(self, name: str) -> str:
        """Return the command that shows it on the host."""
        return f"{_compose()} logs {_service(name)}"

    # --- the history ----------------------------------------------------------------------------------------

    def events_file(self) -> Path:
        """Return the broker's own file, on a volume."""
        return self.folder / "events.jsonl"

    def keep_history(self) -> Path:
        """Return the broker's own file: its volume stays."""
        return self.folder / "events.jsonl"

    def api_token(self) -> str:
        """Return the token beside this container's keys, which only the HTTP side's container has."""
        assert self._keys is not None
        try:
            return (self._keys / API_TOKEN).read_text(encoding="ascii").strip()
        except OSError as error:
            raise ClusterError(
                N_(
                    "this container does not have the token of the HTTP side; on the host: "
                    "python -m labkit api --show-token"
                )
            ) from error

    def lab_url(self) -> None:
        """Return None: the caller is in JupyterLab already."""

    def close(self) -> None:
        """Do nothing: each question has a connection of its own."""


@functools.cache
def _compose() -> str:
    """Return how docker-compose is called on the host for this cluster's project, which may not be labkit."""
    project = own_name().removesuffix(f"-{containers.LAB}-1").removesuffix(f"-{API}-1")
    return "docker-compose" if project in ("", PROJECT) else f"COMPOSE_PROJECT_NAME={project} docker-compose"


def _service(name: str | None) -> str:
    """Return the service of a process; an elastic worker is one of several containers of its service."""
    if name is None or name == BROKER or name in containers.NAMED_WORKERS:
        return name or ""
    return containers.ELASTIC


def _by_number(name: str) -> tuple[str, int]:
    """Return a key that sorts labkit-worker-10 after labkit-worker-9."""
    digits = len(name) - len(name.rstrip("0123456789"))
    return name[: len(name) - digits], int(name[len(name) - digits :] or 0)


class DownRow(ProcessRow):
    """A process whose container does not answer; its agent cannot be asked."""

    container: None


def _down(name: str) -> DownRow:
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
