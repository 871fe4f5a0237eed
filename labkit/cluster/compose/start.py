"""Opens, starts and finds clusters of containers; what ``labkit.cluster.local.handle`` does for processes.

* ``open_cluster``: a private stack, with a project name and ports of its own, and volumes that go with it. A
  guardian takes it down when this process ends.
* ``start_background``: the project of the compose file, the same that ``docker-compose up -d`` starts.
* ``connect``: that project, whoever started it; from then on it is noted too. Inside the ``lab`` container:
  the cluster that it stands in.

Which project: COMPOSE_PROJECT_NAME, or the one that ``up`` has noted, or ``labkit``; a cluster with a name of
its own is ``labkit-NAME``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.cluster.cluster import Cluster
from labkit.cluster.compose import containers, images, keys
from labkit.cluster.compose.docker import Engine
from labkit.cluster.compose.handle import UP_S, ComposeCluster
from labkit.cluster.compose.projects import PROJECT
from labkit.cluster.compose.reaper import Guardian
from labkit.cluster.local import ports
from labkit.cluster.local.plan import Capabilities, rule_variables
from labkit.cluster.run_folder import RunFolder
from labkit.cluster.supervisor.child import MAX_WORKERS, PAUSED, RESTARTING, RUNNING
from labkit.core.broker import policies
from labkit.core.errors import N_, ClusterError, InvalidInput, PortInUse
from labkit.support.settings import Settings

READY_S = 60.0
PORT_ATTEMPTS = 5


def open_cluster(
    workers: int,
    name: str | None,
    *,
    capabilities: Capabilities,
    slots: int | None,
    policy: str | None,
    redis: bool,
    settings: Settings,
    ready_timeout_s: float | None,
) -> Cluster:
    """Return a private stack that is ready; inside the lab container, the cluster that it stands in."""
    if settings.control is not None:
        if workers != len(containers.NAMED_WORKERS) or not redis or any((capabilities, slots, policy)):
            raise ClusterError(
                N_(
                    "the cluster that this container stands in is what it is; "
                    "open_cluster(backend='local', ...) makes another one, of processes"
                )
            )
        return _inside(settings, ready_timeout_s)
    asked = ports.asked_for(os.environ)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        chosen = ports.choose("127.0.0.1", asked, usual=False)
        environ = _environment(settings, chosen, capabilities, slots, policy)
        try:
            return _ready(_private(workers, name, environ, redis=redis, policy=policy), ready_timeout_s)
        except PortInUse:  # somebody came first, between our choice and Docker's turn: choose again
            if asked or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _private(
    workers: int, name: str | None, environ: dict[str, str], *, redis: bool, policy: str | None
) -> ComposeCluster:
    """Start a private stack at the ports in ``environ``, and return a handle. PortInUse: one is taken."""
    project = f"{PROJECT}-private-{secrets.token_hex(4)}"
    engine = Engine(project, environ)
    images.build_if_need_be(engine)
    guardian = Guardian(
        [*engine.compose_command(), "down", "--volumes", "--remove-orphans", "--timeout", "2"], engine.environ
    )
    try:
        _up(engine, workers, redis=redis, lab=False)
        return _connected(engine, name or project, guardian=guardian, redis=redis, policy=policy)
    except BaseException:  # also Ctrl-C
        guardian.let_go(UP_S)
        raise


def start_background(
    workers: int,
    name: str | None,
    *,
    capabilities: Capabilities,
    slots: int | None,
    policy: str | None,
    redis: bool,
    settings: Settings,
    ready_timeout_s: float,
) -> ComposeCluster:
    """Start the project's stack, and return a handle when it is ready.

    Raises ClusterError if it is up already. The usual ports are taken where they are free.
    """
    label = name or settings.cluster
    engine = Engine(project_of(label, settings), os.environ)
    if _lives(engine):
        raise ClusterError(
            N_("the cluster {name!r} runs already; python -m labkit status shows it, down ends it"),
            name=label,
        )
    engine.compose("down", "--remove-orphans", timeout_s=UP_S)  # what was stopped has its old ports still
    chosen = ports.choose("127.0.0.1", ports.asked_for(os.environ), usual=True)
    if ports.obstacle("127.0.0.1", settings.lab_port) is not None:
        if os.environ.get("LABKIT_LAB_PORT"):
            raise PortInUse(
                N_(
                    "port {port} of {host} ({name}) cannot be used: it is in use; "
                    "choose another, or end the program that has it"
                ),
                port=settings.lab_port, host="127.0.0.1", name="LABKIT_LAB_PORT",
            )  # fmt: skip
        chosen["lab"] = chosen["worker"]  # which containers do not publish
    engine = Engine(engine.project, _environment(settings, chosen, capabilities, slots, policy))
    images.build_if_need_be(engine)
    home = RunFolder.of(settings.home, label)
    try:
        _up(engine, workers, redis=redis, lab=True)
        cluster = _connected(engine, label, home=home.path, redis=redis, policy=policy)
        _ready(cluster, ready_timeout_s)
    except BaseException:  # also Ctrl-C: nothing of it remains but the volumes
        engine.compose("down", "--remove-orphans", timeout_s=UP_S)
        raise
    home.note_compose_project(engine.project)
    return cluster


def connect(name: str | None, settings: Settings) -> Cluster:
    """Return a handle on the project's stack. Raises ClusterNotRunning if it has no containers."""
    if settings.control is not None:
        return _inside(settings, None)
    label = name or settings.cluster
    engine = engine_of(replace(settings, cluster=label))
    home = RunFolder.of(settings.home, label)
    cluster = _connected(engine, label, home=home.path)
    with contextlib.suppress(OSError):  # where nothing can be noted, it has to be said again next time
        home.note_compose_project(engine.project)
    return cluster


def engine_of(settings: Settings) -> Engine:
    """Return Docker for the project of the background cluster; ClusterNotRunning if nothing of it runs."""
    engine = Engine(project_of(settings.cluster, settings), os.environ)
    if not _lives(engine):
        raise containers.not_running(engine.project)
    return engine


def project_of(name: str, settings: Settings) -> str:
    """Return the compose project of the cluster ``name``. Raises InvalidInput for an impossible one."""
    folder = RunFolder.of(settings.home, name)
    if name == Settings().cluster and (named := os.environ.get("COMPOSE_PROJECT_NAME")):
        return named
    if (noted := folder.compose_project()) is not None:
        return noted
    if name == Settings().cluster:
        return PROJECT
    project = f"{PROJECT}-{name}"
    if project != project.lower() or "." in project:
        raise InvalidInput(
            N_("{name!r} cannot be the name of a compose project: small letters, digits, - and _"), name=name
        )
    return project


def _inside(settings: Settings, ready_timeout_s: float | None) -> Cluster:
    from labkit.cluster.compose.inside import InsideCluster

    cluster = InsideCluster(settings)
    if ready_timeout_s is not None:
        cluster.wait_until_ready(ready_timeout_s)
    return cluster


def _connected(engine: Engine, label: str, **options: Any) -> ComposeCluster:
    return ComposeCluster(engine, label, keys.of_host(engine), **options)


def _lives(engine: Engine) -> bool:
    """Return whether anything of the project runs; one that was stopped as a whole does not."""
    rows = containers.rows_of(engine.containers())
    return any(row["state"] in (RUNNING, PAUSED, RESTARTING) for row in rows)


def _ready(cluster: ComposeCluster, timeout_s: float | None) -> ComposeCluster:
    try:
        if timeout_s is not None:
            cluster.wait_until_ready(max(timeout_s, READY_S))
        return cluster
    except BaseException:  # also Ctrl-C
        cluster.close()
        raise


def _up(engine: Engine, workers: int, *, redis: bool, lab: bool) -> None:
    if not 0 <= workers <= MAX_WORKERS:
        raise InvalidInput(
            N_("a cluster cannot have {n} workers; 0 to {most} are possible"), n=workers, most=MAX_WORKERS
        )
    named = containers.NAMED_WORKERS[:workers]
    elastic = max(0, workers - len(containers.NAMED_WORKERS))
    services = ["broker", *(["redis"] if redis else []), *named, *([containers.LAB] if lab else [])]
    if elastic:
        services += [containers.ELASTIC, "--scale", f"{containers.ELASTIC}={elastic}"]
    engine.compose("up", "-d", "--no-build", *services, timeout_s=UP_S)


def _environment(
    settings: Settings,
    chosen: Mapping[str, int],
    capabilities: Capabilities,
    slots: int | None,
    policy: str | None,
) -> dict[str, str]:
    """Return this process's environment with what the compose file's variables are to be."""
    if policy is not None:
        policies.named(policy)  # here, where it can be told; a broker could only refuse to start
    everybody = settings.worker_capabilities if capabilities is None else capabilities
    own = dict(everybody) if isinstance(everybody, Mapping) else {}
    for name in own:
        if name not in containers.NAMED_WORKERS:
            raise InvalidInput(
                N_("capabilities for {name!r}: in containers only {known} can have their own"),
                name=name, known=", ".join(containers.NAMED_WORKERS),
            )  # fmt: skip
    learners = settings.work or Path.cwd()
    return {
        **os.environ,
        **{f"LABKIT_{kind.upper()}_PORT": str(port) for kind, port in chosen.items()},
        **rule_variables(settings.rules),
        **{containers.capabilities_variable(name): ",".join(own[name]) for name in own},
        "WORKER_CAPABILITIES": "" if own else ",".join(everybody or ()),
        "LABKIT_SLOTS": str(settings.worker_slots if slots is None else slots),
        "LABKIT_POLICY": policy or settings.policy,
        **({"LABKIT_WORK": str(learners.resolve())} if (learners / "work").is_dir() else {}),
    }
