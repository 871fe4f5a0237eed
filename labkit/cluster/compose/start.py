"""Opens, starts and finds clusters of containers, as ``labkit.cluster.local.start`` does for processes.

* ``open_cluster`` starts a private cluster: its compose project has a name, ports and volumes of its own, and
  a reaper removes it when this process ends.
* ``start_background`` starts the project of the compose file, as ``docker-compose up -d`` does.
* ``connect`` finds that project, however it was started, and notes it for later commands. Inside the ``lab``
  container it returns the cluster to which the container belongs.

The project of the default cluster is COMPOSE_PROJECT_NAME, or the one that ``up`` has noted, or ``labkit``. A
cluster that was given a name has the project ``labkit-NAME``. If no such project runs, one with a name of the
user's own is found too (``labkit.cluster.compose.projects.find``).
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
from labkit.cluster.compose import containers, images, keys, projects
from labkit.cluster.compose.backend import UP_S, ComposeBackend
from labkit.cluster.compose.docker import Docker
from labkit.cluster.compose.projects import PROJECT
from labkit.cluster.compose.projects import project_of as project_of
from labkit.cluster.compose.reaper import Reaper
from labkit.cluster.options import ClusterOptions
from labkit.cluster.processes import API, PAUSED, RESTARTING, RUNNING
from labkit.cluster.run_folder import RunFolder
from labkit.core.broker import policies
from labkit.core.errors import N_, ClusterError, InvalidInput, LabkitError, PortInUse
from labkit.support import i18n
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
        without_api: LabkitError | None = None
        if options.api:
            try:
                chosen[ports.API] = _port_for_api(chosen, set())
            except LabkitError as reason:
                options, without_api = replace(options, api=False), reason
        environ = _environment(settings, chosen, options)
        try:
            cluster = _private(options, environ)
            cluster.without_api = without_api
            return _ready(cluster, options.ready_timeout_s)
        except PortInUse:  # another program took it after our choice: choose again
            if asked.keys() - {ports.API} or attempt == PORT_ATTEMPTS:
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
    wanted = project_of(label, settings)
    docker = Docker(projects.find(label, wanted) or wanted, os.environ)
    home = RunFolder.of(settings.home, label)
    if _lives(docker):
        cluster = _completed(docker, label, home, options, settings)
    else:
        cluster = _started(docker, label, home, options, settings)
    _note(home, docker)
    return cluster


def _started(
    docker: Docker, label: str, home: RunFolder, options: ClusterOptions, settings: Settings
) -> Cluster:
    """Start a project that has no running container."""
    docker.compose("down", "--remove-orphans", timeout_s=UP_S)  # stopped containers keep their old ports
    taken: set[int] = set()
    without_api: LabkitError | None = None
    for attempt in range(1, PORT_ATTEMPTS + 1):
        published = _published(settings, taken)
        if options.api:
            try:
                published[ports.API] = _port_for_api(published, taken)
            except LabkitError as reason:
                options, without_api = replace(options, api=False), reason
        docker = Docker(docker.project, _environment(settings, published, options))
        images.build_if_need_be(docker)
        try:
            _up(docker, options, lab=True)
            cluster = _connected(docker, label, home.path, options=options)
            cluster.without_api = without_api
            return _ready(cluster, options.ready_timeout_s)
        except PortInUse as error:
            # Another program took it after our choice, or Docker gave it to another container.
            docker.compose("down", "--remove-orphans", timeout_s=UP_S)
            port = int(port) if (port := str(error.params["port"])).isdigit() else 0
            if options.api and port == ports.asked_for(os.environ).get(ports.API):
                options, without_api = replace(options, api=False), error
                continue
            if port in _asked_for() or port in taken or attempt == PORT_ATTEMPTS:
                raise
            taken.add(port)
        except BaseException:  # also Ctrl-C: only the volumes remain
            docker.compose("down", "--remove-orphans", timeout_s=UP_S)
            raise
    raise AssertionError("the last attempt returns or raises")


def _completed(
    docker: Docker, label: str, home: RunFolder, options: ClusterOptions, settings: Settings
) -> Cluster:
    """Make what is missing of a project that runs in part; what runs goes on undisturbed.

    So ends a ``docker-compose up -d`` that stopped halfway, because a port was taken. Raises ClusterError if
    nothing is missing.
    """
    found = docker.containers()
    missing = containers.missing(found)
    without_api: LabkitError | None = None
    if not missing:
        raise ClusterError(
            N_("the cluster {name!r} runs already; python -m labkit status shows it, down ends it"),
            name=label,
        )
    whole = [container for container in found if containers.service_of(container) not in missing]
    published = {**_published(settings, set()), **containers.ports_of(whole)}
    if API in missing:
        try:
            published[ports.API] = _port_for_api(published, set())
        except PortInUse as reason:  # the cluster works without
            without_api = reason
            missing.remove(API)
    tag = containers.tag_of(found)
    docker.environ = {**docker.environ, **_environment(settings, published, options), "LABKIT_TAG": tag}
    docker.environ["COMPOSE_PROJECT_NAME"] = docker.project
    images.restore(docker, found)
    if not images.are_built(docker, tag):
        images.build_if_need_be(docker)
    unstarted = [container for container in found if containers.is_unstarted(container)]
    for container in unstarted:
        docker.run("rm", "-f", container["Id"])
    elastic = sum(containers.service_of(container) == containers.ELASTIC for container in found)
    scale = ["--scale", f"{containers.ELASTIC}={elastic}"] if containers.ELASTIC in missing else []
    if missing:  # without names, compose would start everything
        docker.compose("up", "-d", "--no-build", "--no-recreate", *missing, *scale, timeout_s=UP_S)
    cluster = _connected(docker, label, home.path)
    cluster.without_api = without_api
    return _ready(cluster, options.ready_timeout_s)


def _asked_for() -> set[int]:
    """Return the ports that the environment asks for."""
    lab = os.environ.get("LABKIT_LAB_PORT", "").strip()
    return {*ports.asked_for(os.environ).values(), *([int(lab)] if lab else [])}


def _published(settings: Settings, taken: set[int]) -> dict[str, int]:
    """Return the ports for the containers: the usual ones where they are free and not in ``taken``."""
    asked = ports.asked_for(os.environ)
    chosen = ports.choose("127.0.0.1", asked, usual=True)
    other = ports.choose("127.0.0.1", {}, usual=False)
    lab = settings.lab_port
    if lab not in taken and ports.obstacle("127.0.0.1", lab) is not None:
        if os.environ.get("LABKIT_LAB_PORT"):
            raise PortInUse(
                N_(
                    "port {port} of {host} ({name}) cannot be used: it is in use; "
                    "choose another, or end the program that has it"
                ),
                port=lab,
                host="127.0.0.1",
                name="LABKIT_LAB_PORT",
            )
        taken = {*taken, lab}
    # Containers do not publish the workers' port: the one found for it is free for JupyterLab.
    published = [port for name, port in chosen.items() if name != "worker"]
    chosen["lab"] = other["worker"] if lab in (*taken, *published) else lab
    return {name: other[name] if port in taken and name in other else port for name, port in chosen.items()}


def _port_for_api(published: Mapping[str, int], taken: set[int]) -> int:
    """Return the port of the HTTP side. Raises PortInUse if the one asked for is taken."""
    asked = ports.asked_for(os.environ).get(ports.API)
    return ports.choose_for_api(asked, avoid={*published.values(), *taken})


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
    wanted = project_of(settings.cluster, settings)
    docker = Docker(projects.find(settings.cluster, wanted) or wanted, os.environ)
    if not _lives(docker):
        raise containers.not_running(docker.project)
    return docker


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


def end_leftovers(name: str | None, settings: Settings) -> list[str]:
    """Remove the containers of a cluster that cannot be connected to; return their processes' names.

    They were stopped, or the broker's is missing. The volumes stay.
    """
    label = name or settings.cluster
    wanted = project_of(label, settings)
    docker = Docker(projects.find(label, wanted) or wanted, os.environ)
    rows = containers.rows_of(docker.containers())
    if rows:
        docker.compose("down", "--remove-orphans", timeout_s=UP_S)
    with contextlib.suppress(OSError):
        RunFolder.of(settings.home, label).compose_file.unlink(missing_ok=True)
    return [row["name"] for row in rows]


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
    services = ["broker", *redis, *named, *([containers.LAB] if lab else []), *([API] if options.api else [])]
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
        "LABKIT_LANG": settings.lang or i18n.language(),
        **{containers.capabilities_variable(name): ",".join(own[name]) for name in own},
        "WORKER_CAPABILITIES": "" if own else ",".join(everybody or ()),
        "LABKIT_SLOTS": str(settings.worker_slots if options.slots is None else options.slots),
        "LABKIT_POLICY": options.policy or settings.policy,
        **({"LABKIT_WORK": str(learners.resolve())} if (learners / "work").is_dir() else {}),
    }
