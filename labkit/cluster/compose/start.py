"""Opens, starts and finds clusters of containers, as ``labkit.cluster.local.start`` does for processes.

* ``open_cluster`` starts a private cluster: its compose project has a name, ports and volumes of its own, and
  a reaper removes it when this process ends.
* ``start_background`` starts the project of the compose file, as ``docker-compose up -d`` does.
* ``connect`` finds that project, however it was started, and notes it for later commands. Inside the ``lab``
  container it returns the cluster to which the container belongs.

The project of the default cluster is COMPOSE_PROJECT_NAME, or the one that ``up`` has noted, or ``labkit``. A
cluster that was given a name has the project ``labkit-NAME``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labkit.cluster import ports
from labkit.cluster.cluster import Cluster
from labkit.cluster.compose import containers, images, keys
from labkit.cluster.compose.backend import UP_S, ComposeBackend
from labkit.cluster.compose.docker import Docker
from labkit.cluster.compose.projects import PROJECT
from labkit.cluster.compose.reaper import Reaper
from labkit.cluster.options import ClusterOptions
from labkit.cluster.processes import PAUSED, RESTARTING, RUNNING
from labkit.cluster.run_folder import RunFolder
from labkit.core.broker import policies
from labkit.core.errors import N_, ClusterError, InvalidInput, PortInUse
from labkit.support.settings import Settings, rule_variables

READY_S = 60.0
PORT_ATTEMPTS = 5


def open_cluster(options: ClusterOptions, settings: Settings) -> Cluster:
    """Return a private cluster that is ready; inside the lab container, the cluster that it belongs to."""
    if settings.control is not None:
        if not options.is_usual:
            raise ClusterError(
                N_(
                    "the cluster of this container cannot be changed from inside; "
                    "open_cluster(backend='local', ...) makes another one, of processes"
                )
            )
        return _inside(settings, options.ready_timeout_s)
    asked = ports.asked_for(os.environ)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        chosen = ports.choose("127.0.0.1", asked, usual=False)
        environ = _environment(settings, chosen, options)
        try:
            return _ready(_private(options, environ), options.ready_timeout_s)
        except PortInUse:  # another program took it after our choice: choose again
            if asked or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _private(options: ClusterOptions, environ: dict[str, str]) -> Cluster:
    """Start a private cluster with the ports in ``environ``, and return a handle. Raises PortInUse."""
    project = f"{PROJECT}-private-{secrets.token_hex(4)}"
    docker = Docker(project, environ)
    images.build_if_need_be(docker)
    reaper = Reaper(
        [*docker.compose_command(), "down", "--volumes", "--remove-orphans", "--timeout", "2"], docker.environ
    )
    try:
        _up(docker, options, lab=False)
        name = options.name or project
        return _connected(docker, name, reaper=reaper, options=options)
    except BaseException:  # also Ctrl-C
        reaper.let_go(UP_S)
        raise


def start_background(options: ClusterOptions, settings: Settings) -> Cluster:
    """Start the project's containers, and return a handle when the cluster is ready.

    Raises ClusterError if it is up already. Uses the usual ports where they are free.
    """
    label = options.name or settings.cluster
    docker = Docker(project_of(label, settings), os.environ)
    if _lives(docker):
        raise ClusterError(
            N_("the cluster {name!r} runs already; python -m labkit status shows it, down ends it"),
            name=label,
        )
    docker.compose("down", "--remove-orphans", timeout_s=UP_S)  # stopped containers keep their old ports
    chosen = ports.choose("127.0.0.1", ports.asked_for(os.environ), usual=True)
    if ports.obstacle("127.0.0.1", settings.lab_port) is not None:
        if os.environ.get("LABKIT_LAB_PORT"):
            raise PortInUse(
                N_(
                    "port {port} of {host} ({name}) cannot be used: it is in use; "
                    "choose another, or end the program that has it"
                ),
                port=settings.lab_port,
                host="127.0.0.1",
                name="LABKIT_LAB_PORT",
            )
        chosen["lab"] = chosen["worker"]  # a port that containers do not publish
    docker = Docker(docker.project, _environment(settings, chosen, options))
    images.build_if_need_be(docker)
    home = RunFolder.of(settings.home, label)
    try:
        _up(docker, options, lab=True)
        cluster = _connected(docker, label, home.path, options=options)
        _ready(cluster, options.ready_timeout_s)
    except BaseException:  # also Ctrl-C: only the volumes remain
        docker.compose("down", "--remove-orphans", timeout_s=UP_S)
        raise
    _note(home, docker)
    return cluster


def _note(home: RunFolder, docker: Docker) -> None:
    """Note which project the cluster is. Without the note, the next command needs --backend again."""
    with contextlib.suppress(OSError):
        home.note_compose_project(docker.project)


def connect(name: str | None, settings: Settings) -> Cluster:
    """Return a handle on the project's cluster. Raises ClusterNotRunning if it has no containers."""
    if settings.control is not None:
        return _inside(settings, None)
    label = name or settings.cluster
    docker = docker_of(replace(settings, cluster=label))
    home = RunFolder.of(settings.home, label)
    cluster = _connected(docker, label, home.path)
    _note(home, docker)
    return cluster


def follow_logs(settings: Settings, worker: str | None, lines: int) -> int:
    """Print the logs of the background cluster as they come, until Ctrl-C; return docker's exit code."""
    docker = docker_of(settings)
    return ComposeBackend(docker, settings.cluster, keys.of_host(docker)).follow_logs(worker, lines)


def docker_of(settings: Settings) -> Docker:
    """Return Docker for the background cluster's project. Raises ClusterNotRunning if none of it runs."""
    docker = Docker(project_of(settings.cluster, settings), os.environ)
    if not _lives(docker):
        raise containers.not_running(docker.project)
    return docker


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
    from labkit.cluster.compose.inside import InsideBackend

    cluster = Cluster(InsideBackend(settings))
    if ready_timeout_s is not None:
        cluster.wait_until_ready(ready_timeout_s)
    return cluster


def _connected(
    docker: Docker,
    label: str,
    home: Path | None = None,
    *,
    reaper: Reaper | None = None,
    options: ClusterOptions | None = None,
) -> Cluster:
    """Return a handle on the project's running containers; without ``options`` it was started elsewhere."""
    redis, policy = (True, "") if options is None else (options.redis, options.policy or "")
    credentials = keys.of_host(docker)
    return Cluster(
        ComposeBackend(docker, label, credentials, home, reaper=reaper, redis=redis, policy=policy)
    )


def _lives(docker: Docker) -> bool:
    """Return whether any container of the project runs."""
    rows = containers.rows_of(docker.containers())
    return any(row["state"] in (RUNNING, PAUSED, RESTARTING) for row in rows)


def _ready(cluster: Cluster, timeout_s: float | None) -> Cluster:
    try:
        if timeout_s is not None:
            cluster.wait_until_ready(max(timeout_s, READY_S))
        return cluster
    except BaseException:  # also Ctrl-C
        cluster.close()
        raise


def _up(docker: Docker, options: ClusterOptions, *, lab: bool) -> None:
    named = containers.NAMED_WORKERS[: options.workers]
    elastic = max(0, options.workers - len(containers.NAMED_WORKERS))
    redis = ["redis"] if options.redis else []
    services = ["broker", *redis, *named, *([containers.LAB] if lab else [])]
    if elastic:
        services += [containers.ELASTIC, "--scale", f"{containers.ELASTIC}={elastic}"]
    docker.compose("up", "-d", "--no-build", *services, timeout_s=UP_S)


def _environment(settings: Settings, chosen: Mapping[str, int], options: ClusterOptions) -> dict[str, str]:
    """Return this process's environment with the values of the compose file's variables."""
    if options.policy is not None:
        policies.named(options.policy)  # raises now; a broker could only refuse to start
    chosen_filters = options.capabilities
    everybody = settings.worker_capabilities if chosen_filters is None else chosen_filters
    own = dict(everybody) if isinstance(everybody, Mapping) else {}
    for name in own:
        if name not in containers.NAMED_WORKERS:
            raise InvalidInput(
                N_("capabilities for {name!r}: in containers only {known} can have their own"),
                name=name,
                known=", ".join(containers.NAMED_WORKERS),
            )
    learners = settings.work or Path.cwd()
    return {
        **os.environ,
        **{f"LABKIT_{kind.upper()}_PORT": str(port) for kind, port in chosen.items()},
        **rule_variables(settings.rules),
        **{containers.capabilities_variable(name): ",".join(own[name]) for name in own},
        "WORKER_CAPABILITIES": "" if own else ",".join(everybody or ()),
        "LABKIT_SLOTS": str(settings.worker_slots if options.slots is None else options.slots),
        "LABKIT_POLICY": options.policy or settings.policy,
        **({"LABKIT_WORK": str(learners.resolve())} if (learners / "work").is_dir() else {}),
    }
