"""Clusters of local processes: the handle that notebooks and the command line hold.

* ``open_cluster`` makes a private cluster: a temporary folder, free ports, and an end that comes with this
  process's, however it ends. It is what notebooks, tests and the demo use.
* ``start_background`` starts the cluster that stays (``python -m labkit up``), ``connect`` finds it from
  anywhere else.

The handle talks to the supervisor over the control port and to the broker as a client; it has no child but
the supervisor, which ends when this process does (``labkit.cluster.local.lifeline``). So there is nothing to
clean
up here that an interruption at the wrong moment could leave undone.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
import time
from collections import deque
from importlib import import_module
from pathlib import Path
from typing import Any

from labkit.cluster import ports
from labkit.cluster.cluster import Cluster
from labkit.cluster.local.lifeline import DOWN_S, Lifeline, collect_detached
from labkit.cluster.local.plan import environment, make_plan
from labkit.cluster.options import ClusterOptions
from labkit.cluster.processes import REDIS
from labkit.cluster.run_folder import RunFolder, State
from labkit.cluster.supervisor import control
from labkit.core.errors import N_, ClusterError, ClusterNotRunning, InvalidInput, PortInUse
from labkit.core.protocol import exit_codes
from labkit.security.credentials import Credentials, Token, of_folder
from labkit.security.key_store import CLIENT, LOCAL, KeyFolder
from labkit.support import process_groups
from labkit.support.settings import Settings

PORT_TAKEN = f"exit {exit_codes.PORT_IN_USE}"
PORT_ATTEMPTS = 5
PRIVATE = "labkit-"
"""How the folders of private clusters begin, in the system's folder for temporary files."""
YOUNG_S = 60.0
"""A folder without cluster.json may be one whose supervisor is starting, for this long."""


def open_cluster(options: ClusterOptions, settings: Settings) -> LocalCluster:
    """Return a private cluster that is ready. It ends with this process at the latest.

    Raises ClusterError if it does not come up, PortInUse for a port that the environment asks for and that is
    taken.
    """
    sweep_private()
    label = options.name or f"private-{os.getpid()}"
    folder = RunFolder(Path(tempfile.gettempdir()) / f"{PRIVATE}{secrets.token_hex(6)}")
    return _start(folder, label, settings, options, private=True)


def start_background(options: ClusterOptions, settings: Settings) -> LocalCluster:
    """Start a cluster that stays until ``down``, and return a handle when it is ready.

    It takes the usual ports as far as they are free. What a crashed cluster of that name left is cleaned up
    first. Interrupted before it is ready, nothing of it remains. Raises ClusterError if one of that name runs
    already, or this one does not come up; PortInUse as ``open_cluster``.
    """
    label = options.name or settings.cluster
    folder = RunFolder.of(settings.home, label)
    if folder.running() is not None:
        raise ClusterError(
            N_("the cluster {name!r} runs already; python -m labkit status shows it, down ends it"),
            name=label,
        )
    sweep_private()
    ended = clean_up(label, settings)  # first: what is left of the last one may still have its ports
    cluster = _start(folder, label, settings, options, private=False)
    cluster.cleaned_up = ended
    return cluster


def connect(name: str | None = None, settings: Settings | None = None) -> LocalCluster:
    """Return a handle on a cluster that runs in the background. ``name``: default LABKIT_CLUSTER.

    Raises ClusterNotRunning, saying what to do.
    """
    settings = settings or Settings.from_environment()
    label = name or settings.cluster
    folder = RunFolder.of(settings.home, label)
    state = folder.running()
    option = "" if label == settings.cluster else f" --name {label}"
    if state is None:
        if folder.read_state() is not None:
            raise ClusterNotRunning(
                N_(
                    "the cluster {name!r} has crashed; "
                    "python -m labkit up{option} tidies up and starts it anew"
                ),
                name=label, option=option,
            )  # fmt: skip
        raise ClusterNotRunning(
            N_("no cluster {name!r} is running; python -m labkit up{option} starts one"),
            name=label, option=option,
        )  # fmt: skip
    return LocalCluster(folder, state)


def clean_up(name: str | None = None, settings: Settings | None = None) -> list[str]:
    """Clear away what a crashed background cluster left; return the names of the processes ended.

    Raises ClusterError if the cluster is running.
    """
    settings = settings or Settings.from_environment()
    folder = RunFolder.of(settings.home, name or settings.cluster)
    return folder.sweep(keep=True) if folder.read_state() is not None else []


def sweep_private() -> list[Path]:
    """Remove what private clusters left that were killed with all their processes; return the folders.

    Nobody comes back to such a folder, so whoever opens the next cluster tidies up. Left alone are: a
    cluster whose supervisor lives (it holds the folder's lock) or may be starting; and one whose supervisor
    is dead while others of it serve on, because the program that opened it may live
    (labkit.support.parent_watch).
    """
    removed: list[Path] = []
    for path in Path(tempfile.gettempdir()).glob(f"{PRIVATE}*"):
        if not re.fullmatch(r"[0-9a-f]{12}", path.name.removeprefix(PRIVATE)) or not _is_ours(path):
            continue
        folder = RunFolder(path)
        try:
            state = folder.read_state()
            if state is None and time.time() - path.stat().st_mtime < YOUNG_S:
                continue
            named = (state or {}).get("processes", {})
            if any(process_groups.is_alive(*mark) for name, mark in named.items() if name != REDIS):
                continue
            folder.sweep(keep=False)
            removed.append(path)
        except (ClusterError, FileNotFoundError):
            continue  # it lives; or somebody else has tidied up at the same moment
    return removed


def _is_ours(path: Path) -> bool:
    """Whether this is a folder of this user's: temporary folders are everybody's."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(about.st_mode) and (not hasattr(os, "getuid") or about.st_uid == os.getuid())


class LocalCluster(Cluster):
    """A handle on a cluster of local processes; any number of them may exist, in any processes."""

    backend = "local"

    def __init__(
        self,
        folder: RunFolder,
        state: State,
        lifeline: Lifeline | None = None,
    ) -> None:
        super().__init__(
            state["name"], folder.path, state["address"], state["event_address"], state["redis_url"],
            _credentials(folder, state),
        )  # fmt: skip
        self._token = folder.read_token()  # opens the control port, whatever opens the broker's
        self.ports = state["ports"]
        self.policy = state.get("policy", "")
        self._run_folder = folder
        self._state = state
        self._lifeline = lifeline  # if the cluster is ours alone
        self._pid = os.getpid()

    def _ask(self, do: str, timeout_s: float = 5.0, **parameters: Any) -> Any:
        return control.ask(self._state["control_port"], self._token, do, timeout_s, **parameters)

    # --- the backend's part ---------------------------------------------------------------------------------

    def _backend_status(self) -> dict[str, Any]:
        told: dict[str, Any] = self._ask("status")
        return told

    def _backend_check(self, fault: str, name: str) -> str:
        return str(self._ask("check", fault=fault, name=name)["broker"])

    def _backend_act(self, fault: str, name: str, recorded: bool) -> None:
        patience_s = self._state["drain_s"] + 5.0 if fault == "stop" else 5.0
        self._ask("act", patience_s, fault=fault, name=name, recorded=recorded)

    def scale(self, n: int) -> list[str]:
        names: list[str] = self._ask("scale", n=n)
        return names

    def logs(self, worker: str | None = None, lines: int = 50) -> str:
        known = [row["name"] for row in self._backend_status()["processes"]] + ["supervisor"]
        if worker is not None and worker not in known:
            raise InvalidInput(
                N_("{name!r} is unknown; the cluster has {known}"), name=worker, known=", ".join(known)
            )
        if worker is not None:
            return "".join(_tail(self._run_folder.log_file(worker), lines))
        width = max(len(name) for name in known)
        return "".join(
            f"{name:<{width}} | {line}"
            for name in known
            for line in _tail(self._run_folder.log_file(name), lines)
        )

    def down(self) -> None:
        """End the cluster, whoever started it: no process is left when this returns. It may be down."""
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
            unix_socket.remove(self.ports[port], self._token)
        _sweep_if_crashed(self._run_folder, private=self._state["private"])

    def _owns_cluster(self) -> bool:
        return self._lifeline is not None

    def close(self) -> None:
        # A forked child has a copy of this object, and must not end what it shares.
        if self._pid == os.getpid():
            super().close()

    def detach(self) -> None:
        """Let the cluster live on when this process ends; from now on ``close`` only lets go of it."""
        if self._lifeline is not None:
            lifeline, self._lifeline = self._lifeline, None
            lifeline.detach()


# --- starting -----------------------------------------------------------------------------------------------


def _start(
    folder: RunFolder,
    name: str,
    settings: Settings,
    options: ClusterOptions,
    *,
    private: bool,
) -> LocalCluster:
    """Start a cluster; should somebody else take one of the ports that we chose, choose again."""
    asked = ports.asked_for(os.environ)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        chosen = ports.choose(settings.host, asked, usual=not private and attempt == 1)
        plan = make_plan(folder, name, settings, chosen, options, private=private)
        cluster = _launch(folder, plan, settings)
        try:
            if options.ready_timeout_s is not None:
                cluster.wait_until_ready(options.ready_timeout_s)
            if not private:
                cluster.detach()
            return cluster
        except ClusterError:
            port_taken = _broker_found_port_taken(cluster)
            cluster.close()
            if not port_taken:
                raise
            if asked or attempt == PORT_ATTEMPTS:
                raise PortInUse(
                    N_("one of the ports {ports} was taken at the last moment; try again"),
                    ports=", ".join(str(port) for port in chosen.values()),
                ) from None
        except BaseException:  # also Ctrl-C
            cluster.close()
            raise
    raise AssertionError("the last attempt returns or raises")


def _broker_found_port_taken(cluster: LocalCluster) -> bool:
    try:
        rows = cluster._backend_status()["processes"]
    except ClusterError:
        return False
    return any(row["kind"] == "broker" and row["last_exit"] == PORT_TAKEN for row in rows)


def _launch(folder: RunFolder, plan: dict[str, Any], settings: Settings) -> LocalCluster:
    lifeline = Lifeline(plan, environment(settings))
    try:
        # The others need a moment to start; we need one for this import.
        import_module("labkit.client.client")
        answer = lifeline.answer()
        return LocalCluster(folder, answer["state"], lifeline)
    except BaseException:  # also Ctrl-C
        lifeline.let_go()
        _sweep_if_crashed(folder, private=plan["private"])
        raise


def _sweep_if_crashed(folder: RunFolder, *, private: bool) -> None:
    """Clear away what a supervisor that was killed could not."""
    if folder.state_file.exists() and folder.running() is None:
        folder.sweep(keep=not private)


def _tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log; none if the process has never printed."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line if line.endswith("\n") else line + "\n" for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def _credentials(folder: RunFolder, state: State) -> Credentials:
    """Return what opens the broker of the cluster in ``folder``: its secret, or the keys that it was started
    with."""
    if (keys := state.get("keys")) is None:
        return Token(folder.read_token())
    return of_folder(KeyFolder(Path(keys)), CLIENT, LOCAL)
