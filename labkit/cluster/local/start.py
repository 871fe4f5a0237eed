"""Opens, starts and finds clusters of local processes.

* ``open_cluster`` makes a private cluster: a temporary folder, free ports, and an end that comes with this
  process's, however it ends. Notebooks, tests and the demo use it.
* ``start_background`` starts a cluster that stays (``python -m labkit up``), ``connect`` finds it from
  anywhere else.
* ``clean_up`` and ``sweep_private`` clear away what crashed clusters left.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.cluster import ports
from labkit.cluster.api_side import check_packages
from labkit.cluster.cluster import Cluster
from labkit.cluster.local.backend import LocalBackend, sweep_if_crashed
from labkit.cluster.local.lifeline import Lifeline
from labkit.cluster.local.plan import environment, make_plan
from labkit.cluster.local.turns import turn
from labkit.cluster.options import ClusterOptions
from labkit.cluster.processes import BROKER, REDIS
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, ClusterNotRunning, LabkitError, PortInUse
from labkit.core.protocol import exit_codes
from labkit.support import process_groups, temporary
from labkit.support.settings import Settings
from labkit.transport.hosts import check_is_here

if TYPE_CHECKING:
    from labkit.cluster.supervisor.plan import Plan

PORT_TAKEN = f"exit {exit_codes.PORT_IN_USE}"
PORT_ATTEMPTS = 5
PRIVATE = "labkit-"
"""The prefix of the folders of private clusters, in the system's folder for temporary files."""
YOUNG_S = 60.0
"""A folder without cluster.json may be one whose supervisor is starting, for this long."""


def open_cluster(options: ClusterOptions, settings: Settings) -> Cluster:
    """Return a private cluster that is ready. It ends with this process at the latest.

    Raises ClusterError if it does not come up, PortInUse for a port that the environment asks for and that is
    taken, NoTemporaryFolder if there is no place for its run folder.
    """
    sweep_private()
    label = options.name or f"private-{os.getpid()}"
    folder = RunFolder(temporary.needed_folder() / f"{PRIVATE}{secrets.token_hex(6)}")
    return _start(folder, label, settings, options, private=True)


def start_background(options: ClusterOptions, settings: Settings) -> Cluster:
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
    ended = clean_up(label, settings)  # first: leftovers of the last cluster may still hold its ports
    with turn(settings.home) if _chooses_ports() else nullcontext():
        cluster = _start(folder, label, settings, options, private=False)
        if options.ready_timeout_s is not None:
            _wait_for_its_ports(cluster)
    cluster.cleaned_up = ended
    return cluster


def _chooses_ports() -> bool:
    """Return whether the user leaves some port to labkit."""
    return not ports.asked_for(os.environ).keys() >= ports.VARIABLES.keys()


def _wait_for_its_ports(cluster: Cluster) -> None:
    """Wait until the HTTP side listens, too: the broker and Redis do."""
    try:
        cluster.wait_for_api()
    except ClusterError:
        pass  # the cluster works without it; wait_for_api raises for a caller that needs it


def connect(name: str | None = None, settings: Settings | None = None) -> Cluster:
    """Return a handle on a cluster that runs in the background. ``name``: default LABKIT_CLUSTER.

    Raises ClusterNotRunning, which names the command that helps.
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
                name=label,
                option=option,
            )
        raise ClusterNotRunning(
            N_("no cluster {name!r} is running; python -m labkit up{option} starts one"),
            name=label,
            option=option,
        )
    return Cluster(LocalBackend(folder, state))


def connect_private(path: Path) -> Cluster:
    """Return a handle on the private cluster in this run folder: for a process of that cluster.

    Raises ClusterNotRunning.
    """
    folder = RunFolder(path)
    state = folder.running()
    if state is None:
        raise ClusterNotRunning(N_("no cluster is running in {folder}"), folder=str(path))
    return Cluster(LocalBackend(folder, state))


def clean_up(name: str | None = None, settings: Settings | None = None) -> list[str]:
    """Clear away what a crashed background cluster left; return the names of the processes ended.

    Raises ClusterError if the cluster is running.
    """
    settings = settings or Settings.from_environment()
    folder = RunFolder.of(settings.home, name or settings.cluster)
    return folder.sweep(keep=True) if folder.read_state() is not None else []


def sweep_private() -> list[Path]:
    """Remove what is left of private clusters that were killed with all their processes; return the folders.

    No program returns to such a folder, so the next ``open_cluster`` tidies up. It keeps a cluster whose
    supervisor lives (it holds the folder's lock) or may be starting; and one whose supervisor is dead while
    other processes still serve, because the program that opened it may live (labkit.support.parent_watch).
    """
    removed: list[Path] = []
    for path in temporary.left_behind(PRIVATE):
        if not re.fullmatch(r"[0-9a-f]{12}", path.name.removeprefix(PRIVATE)) or not _is_ours(path):
            continue
        folder = RunFolder(path)
        try:
            state = folder.read_state()
            if state is None and time.time() - path.stat().st_mtime < YOUNG_S:
                continue
            named = {} if state is None else state["processes"]
            if any(process_groups.is_alive(*mark) for name, mark in named.items() if name != REDIS):
                continue
            folder.sweep(keep=False)
            removed.append(path)
        except (ClusterError, OSError):
            continue  # it lives; or another program has tidied up meanwhile; or the disk is read-only
    return removed


def _is_ours(path: Path) -> bool:
    """Return whether this is a folder of this user: all users share the folder for temporary files."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and (not hasattr(os, "getuid") or about.st_uid == os.getuid())


# --- starting -----------------------------------------------------------------------------------------------


def _start(
    folder: RunFolder,
    name: str,
    settings: Settings,
    options: ClusterOptions,
    *,
    private: bool,
) -> Cluster:
    """Start a cluster; if another program takes one of the chosen ports first, choose again."""
    check_is_here(settings.host)  # otherwise it would read as a want of free ports
    asked = ports.asked_for(os.environ)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        chosen = ports.choose(settings.host, asked, usual=not private and attempt == 1)
        without_api = None
        if options.api:
            try:
                chosen[ports.API] = _port_for_api(asked.get(ports.API), chosen, settings.api_host)
            except LabkitError as reason:
                without_api = reason
        plan = make_plan(folder, name, settings, chosen, options, private=private)
        backend = _launch(folder, plan, settings)
        cluster = Cluster(backend)
        cluster.without_api = without_api
        try:
            if options.ready_timeout_s is not None:
                cluster.wait_until_ready(options.ready_timeout_s)
            if not private:
                backend.detach()
            return cluster
        except ClusterError:
            port_taken = _found_port_taken(backend, chosen)
            cluster.close()
            if not port_taken:
                raise
            if asked.keys() - {ports.API} or attempt == PORT_ATTEMPTS:
                raise PortInUse(
                    N_("one of the ports {ports} was taken at the last moment; try again"),
                    ports=", ".join(str(port) for port in chosen.values()),
                ) from None
        except BaseException:  # also Ctrl-C
            cluster.close()
            raise
    raise AssertionError("the last attempt returns or raises")


def _port_for_api(asked: int | None, chosen: Mapping[str, int], host: str) -> int:
    """Return the port of the HTTP side. Raises BackendMissing or PortInUse if there can be none."""
    check_packages()
    return ports.choose_for_api(asked, avoid=chosen.values(), host=host)


def _found_port_taken(backend: LocalBackend, chosen: Mapping[str, int]) -> bool:
    """Return whether another program has the port of our broker or Redis: both have ended because of it."""
    try:
        rows = backend.status()["processes"]
    except ClusterError:
        return False
    if any(row["kind"] == BROKER and row["last_exit"] == PORT_TAKEN for row in rows):
        return True
    keeps_ending = any(row["kind"] == REDIS and row["short_lives"] for row in rows)
    # Its exit code does not say why.
    return keeps_ending and ports.obstacle(ports.REDIS_HOST, chosen[REDIS]) == ports.IN_USE


def _launch(folder: RunFolder, plan: Plan, settings: Settings) -> LocalBackend:
    lifeline = Lifeline(plan, environment(settings))
    try:
        # This import takes as long as the processes need to start.
        import_module("labkit.client.client")
        return LocalBackend(folder, lifeline.answer()["state"], lifeline)
    except BaseException:  # also Ctrl-C
        lifeline.let_go()
        sweep_if_crashed(folder, private=plan["private"])
        raise
