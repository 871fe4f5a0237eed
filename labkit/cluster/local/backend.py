"""Backend of local processes: what a handle asks the supervisor, over the control port.

The only child of this process is the supervisor, and that ends when this process does
(``labkit.cluster.local.lifeline``). So an interruption at the wrong moment leaves nothing to clean up here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from labkit.cluster.backend import BackendStatus, Endpoints, last_printed, no_log_of_redis, no_redis_to
from labkit.cluster.local.lifeline import DOWN_S, Lifeline, collect_detached
from labkit.cluster.ports import API_HOST
from labkit.cluster.processes import REDIS
from labkit.cluster.run_folder import RunFolder, State
from labkit.cluster.supervisor import control
from labkit.core.errors import N_, ClusterNotRunning, InvalidInput
from labkit.security.api_token import api_token_of
from labkit.security.credentials import Credentials, Token, of_folder
from labkit.security.key_store import CLIENT, LOCAL, KeyFolder
from labkit.support import process_groups

LAST_LINES = 20


class LocalBackend:
    """The local cluster in a run folder. ``lifeline``: the cluster belongs to this process alone."""

    kind = "local"
    shares_clock = True
    knows_worker_pids = True

    def __init__(self, folder: RunFolder, state: State, lifeline: Lifeline | None = None) -> None:
        self.endpoints = Endpoints(
            name=state["name"],
            address=state["address"],
            event_address=state["event_address"],
            redis_url=state["redis_url"],
            credentials=_credentials(folder, state),
            ports=state["ports"],
            policy=state.get("policy", ""),
            api_is_open=state.get("api_host", API_HOST) != API_HOST,
        )
        self.folder = folder.path
        self._token = folder.read_token()  # opens the control port, whatever opens the broker's
        self._run_folder = folder
        self._state = state
        self._lifeline = lifeline

    @property
    def is_private(self) -> bool:
        """Whether the cluster ends with this process."""
        return self._lifeline is not None

    def _ask(self, do: str, timeout_s: float = 5.0, **parameters: Any) -> Any:
        try:
            return control.ask(self._state["control_port"], self._token, do, timeout_s, **parameters)
        except ClusterNotRunning as error:
            if not self._state["private"]:
                raise
            if self._lifeline is None:
                raise ClusterNotRunning(
                    N_(
                        "the private cluster {name!r} has ended, at the latest with its with block; "
                        "open_cluster() opens a new one"
                    ),
                    name=self.endpoints.name,
                ) from error
            # The broker may still serve. ``up`` would start another cluster, which this handle is none of.
            raise ClusterNotRunning(
                N_(
                    "the supervisor of this cluster has ended ({reason}), so nothing can be started or "
                    "stopped here; open a new one: in a notebook, run the cell that opened it again, then "
                    "this one"
                ),
                reason=error.params["reason"],
            ) from error

    def status(self) -> BackendStatus:
        """Return what the supervisor reports."""
        return cast(BackendStatus, self._ask("status"))

    def check(self, fault: str, name: str) -> str:
        """Return the broker's state, if the command applies now."""
        if name == REDIS and not any(row["name"] == REDIS for row in self.status()["processes"]):
            raise no_redis_to(fault, self._state["redis_url"])
        return str(self._ask("check", fault=fault, name=name)["broker"])

    def find_broker(self) -> str:
        """Return the broker's address, which is the same as long as the cluster lives."""
        return self.endpoints.address

    def act(self, fault: str, name: str, recorded: bool) -> None:
        """Have the supervisor carry the command out."""
        patience_s = self._state["drain_s"] + 5.0 if fault == "stop" else 5.0
        self._ask("act", patience_s, fault=fault, name=name, recorded=recorded)

    def scale(self, n: int) -> list[str]:
        """Return the names of the ``n`` workers."""
        names: list[str] = self._ask("scale", n=n)
        return names

    def logs(self, worker: str | None, lines: int) -> str:
        """Return the ends of the log files."""
        known = [row["name"] for row in self.status()["processes"]] + ["supervisor"]
        if worker == REDIS and worker not in known:
            raise no_log_of_redis(self._state["redis_url"])
        if worker is not None and worker not in known:
            raise InvalidInput(
                N_("{name!r} is unknown; the cluster has {known}"), name=worker, known=", ".join(known)
            )
        if worker is not None:
            return "".join(self._tail(worker, lines))
        width = max(len(name) for name in known)
        return "".join(f"{name:<{width}} | {line}" for name in known for line in self._tail(name, lines))

    def last_line(self, name: str) -> str:
        """Return the last line that the process printed."""
        return last_printed(self.logs(name, LAST_LINES), name)

    def _tail(self, name: str, lines: int) -> Iterable[str]:
        """Return the last lines of a log; none if the process has never printed."""
        try:
            with self._run_folder.log_file(name).open(encoding="utf-8", errors="replace") as file:
                return [line if line.endswith("\n") else line + "\n" for line in deque(file, maxlen=lines)]
        except FileNotFoundError:
            return []

    def events_file(self) -> Path:
        """Return the broker's own file."""
        return self._run_folder.events_file

    def keep_history(self) -> Path:
        """Return the broker's own file: it stays."""
        return self._run_folder.events_file

    def api_token(self) -> str:
        """Return a token made of the folder's secret, whatever opens the broker."""
        return api_token_of(self._token)

    def lab_url(self) -> None:
        """Return None: a local cluster runs no JupyterLab."""

    def detach(self) -> None:
        """Let the cluster live on when this process ends."""
        if self._lifeline is not None:
            lifeline, self._lifeline = self._lifeline, None
            lifeline.detach()

    def down(self) -> None:
        """End the cluster: no process is left when this returns. It may be down."""
        pid, born = self._state["processes"]["supervisor"]
        if self._lifeline is not None:
            lifeline, self._lifeline = self._lifeline, None
            lifeline.let_go()
        else:
            try:
                self._ask("down", DOWN_S)
            except ClusterNotRunning:
                pass  # it has ended meanwhile
            except control.TimedOut:
                process_groups.end(pid, born)
            process_groups.wait_until_gone(pid, born, timeout_s=2.0)
        collect_detached()
        from labkit.transport import unix_socket

        for port in ("client", "worker"):
            unix_socket.remove(self.endpoints.ports[port], self._token)
        sweep_if_crashed(self._run_folder, private=self._state["private"])

    def close(self) -> None:
        """Do nothing: each question has a connection of its own."""


def sweep_if_crashed(folder: RunFolder, *, private: bool) -> None:
    """Clear away what a supervisor that was killed could not."""
    if folder.state_file.exists() and folder.running() is None:
        folder.sweep(keep=not private)


def _credentials(folder: RunFolder, state: State) -> Credentials:
    """Return what the broker of the cluster in ``folder`` accepts: its secret, or the keys that it uses."""
    if (keys := state.get("keys")) is None:
        return Token(folder.read_token())
    return of_folder(KeyFolder(Path(keys)), CLIENT, LOCAL)
