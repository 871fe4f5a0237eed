"""``open_cluster``, ``start_background`` and ``connect``, for clusters of local processes or of containers.

``backend`` is "local", "compose", or None: what LABKIT_BACKEND names, else local. The result is the one
interface ``Cluster``.

A background cluster is found under its name, however it was started: local processes by their run folder, a
compose project because Docker lists it. A note that ``up`` leaves in the run folder names a project that runs
no longer. Where both are up under one name, the local one is meant, and the caller is warned with the choice
(``find``).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from labkit.cluster.compose.containers import NAMED_WORKERS, capabilities_variable
from labkit.cluster.options import Capabilities, ClusterOptions
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, ClusterNotRunning, InvalidInput
from labkit.support.i18n import translate_error
from labkit.support.setting_values import BACKENDS, words
from labkit.support.settings import Settings

if TYPE_CHECKING:
    from labkit.cluster.cluster import Cluster
    from labkit.imaging.filters import UnknownFilters


def open_cluster(
    workers: int = 3,
    name: str | None = None,
    *,
    backend: str | None = None,
    capabilities: Capabilities = None,
    slots: int | None = None,
    policy: str | None = None,
    redis: bool = True,
    api: bool = False,
    settings: Settings | None = None,
    ready_timeout_s: float | None = 30.0,
) -> Cluster:
    """Return a private cluster that is ready; use it with ``with``. It ends with this process at the latest.

    ``backend``: "local" (processes) or "compose" (containers); default LABKIT_BACKEND, else local. In the
    ``lab`` container, "compose" is the cluster that the container belongs to, and which does not end. It is
    the default there if the options are the usual ones (three workers, nothing else set); otherwise the
    cluster is made of processes. A cluster of no workers is made of processes unless this names "compose".
    ``capabilities``: filters that the workers serve, all of them alike or by worker (default: all filters).
    ``slots``: tasks that a worker computes at once. ``policy``: as for LABKIT_POLICY. ``redis=False``: no
    mirror. ``api``: with an HTTP side, which may come up a moment later (``Cluster.wait_for_api``);
    ``Cluster.without_api`` is the reason why there is none. ``settings``: default from the environment.
    ``ready_timeout_s=None``: do not wait.

    Raises ClusterError if it does not come up, PortInUse for a port that the environment asks for and that is
    taken, BackendMissing where there is no Docker. Warns of filters in WORKER_CAPABILITIES that do not exist.
    """
    settings = settings or Settings.from_environment()
    options = ClusterOptions(
        workers, name, capabilities, slots, policy, redis, api=api, ready_timeout_s=ready_timeout_s
    )
    if backend is None and options.workers == 0:
        # Workers that a program brings itself need the workers' port and the shared secret. Containers do not
        # publish the port and have no secret.
        backend = "local"
    if backend is None and settings.control is not None and not options.is_usual:
        # Only the host can start containers: here, a cluster with options of its own is made of processes.
        backend = "local"
        settings = replace(settings, keys=None, key=None, redis_url=None, folder=None, control=None)
    backend = chosen(backend, settings)
    if capabilities is None and (backend == "local" or settings.control is None):
        for warning in unknown_filters(settings, backend):
            warnings.warn(translate_error(warning), stacklevel=2)
    if backend == "compose":
        from labkit.cluster.compose import start as compose

        return compose.open_cluster(options, settings)
    from labkit.cluster.local import start as local

    return local.open_cluster(options, settings)


def start_background(
    workers: int = 3,
    name: str | None = None,
    *,
    backend: str | None = None,
    capabilities: Capabilities = None,
    slots: int | None = None,
    policy: str | None = None,
    redis: bool = True,
    api: bool = False,
    settings: Settings | None = None,
    ready_timeout_s: float = 30.0,
) -> Cluster:
    """Start the cluster that stays until ``down``, and return a handle when it is ready.

    Options as for ``open_cluster``. Raises ClusterError if the cluster runs already.
    """
    settings = settings or Settings.from_environment()
    options = ClusterOptions(
        workers, name, capabilities, slots, policy, redis, api=api, ready_timeout_s=ready_timeout_s
    )
    if chosen(backend, settings) == "compose":
        from labkit.cluster.compose import start as compose

        return compose.start_background(options, settings)
    from labkit.cluster.local import start as local

    return local.start_background(options, settings)


def connect(
    name: str | None = None, settings: Settings | None = None, *, backend: str | None = None
) -> Cluster:
    """Return a handle on a cluster that runs in the background. ``name``: default LABKIT_CLUSTER.

    Raises ClusterNotRunning, which names the command that helps.
    """
    settings = settings or Settings.from_environment()
    found = find(name, settings, backend)
    if found.other is not None:
        warnings.warn(translate_error(found.both()), stacklevel=2)
    if found.backend == "compose":
        from labkit.cluster.compose import start as compose

        try:
            return compose.connect(name, settings)
        except ClusterNotRunning as error:
            raise not_running(name, settings, backend, error) from error
    from labkit.cluster.local import start as local

    return local.connect(name, settings)


def connect_from_inside(settings: Settings) -> Cluster:
    """Return a handle on the cluster to which this process belongs. Raises ClusterNotRunning."""
    if settings.control is None and settings.folder is not None:  # only private clusters name it
        from labkit.cluster.local import start as local

        return local.connect_private(settings.folder)
    return connect(settings=settings, backend=settings.backend)


def check(backend: str | None = None, settings: Settings | None = None) -> None:
    """Raise BackendMissing if no cluster of this backend can run here. Call it before long work."""
    settings = settings or Settings.from_environment()
    if chosen(backend, settings) == "compose" and settings.control is None:
        from labkit.cluster.compose.docker import Docker
        from labkit.cluster.compose.projects import PROJECT

        docker = Docker(PROJECT, os.environ)
        docker.run("version")
        docker.compose_command()


class Found(NamedTuple):
    """Which background cluster a name means."""

    name: str
    backend: str
    other: str | None = None
    """The compose project of a second cluster that is up under this name."""

    def both(self) -> ClusterError:
        """Return the warning that two clusters are up, with the choice."""
        return ClusterError(
            N_(
                "two clusters {name!r} are up: one of local processes, and one in containers (project "
                "{project}). This is about the local one; --backend compose (in Python: backend='compose') "
                "means the other"
            ),
            name=self.name,
            project=self.other,
        )


def find(name: str | None, settings: Settings, backend: str | None = None) -> Found:
    """Return the background cluster called ``name``; the local one, with the ``other``, if two are up.

    ``backend`` or LABKIT_BACKEND decides, if given. Without any cluster the backend is local, unless ``up``
    has left a note about containers.
    """
    name = name or settings.cluster
    if backend is not None or settings.backend is not None:
        return Found(name, chosen(backend, settings))
    from labkit.cluster.compose.projects import running_project

    folder = RunFolder.of(settings.home, name)
    if folder.running() is not None:
        try:
            return Found(name, "local", running_project(name, settings))
        except ClusterError as several:  # --backend compose shows the choice among them
            return Found(name, "local", str(several.params["names"]))
    if folder.compose_project() is not None or running_project(name, settings) is not None:
        return Found(name, "compose")
    return Found(name, "local")


def not_running(
    name: str | None, settings: Settings, backend: str | None, error: ClusterNotRunning
) -> ClusterNotRunning:
    """Return ``error``, or one with both choices if only a note of an earlier ``up`` chose containers."""
    name = name or settings.cluster
    project = RunFolder.of(settings.home, name).compose_project()
    if backend is not None or settings.backend is not None or project is None:
        return error
    return ClusterNotRunning(
        N_(
            "no cluster {name!r} is running; the last one was in containers (project {project!r}). "
            "python -m labkit up --backend local starts one of processes, "
            "python -m labkit up --backend compose starts the containers"
        ),
        name=name,
        project=project,
    )


def of_running(name: str | None, settings: Settings, backend: str | None = None) -> str:
    """Return the backend of the background cluster called ``name``; the local one if both run."""
    return find(name, settings, backend).backend


def chosen(backend: str | None, settings: Settings) -> str:
    """Return the backend that the call or the settings choose. Raises InvalidInput for an unknown one."""
    backend = backend or settings.backend or BACKENDS[0]
    if backend not in BACKENDS:
        raise InvalidInput(
            N_("the backend {backend!r} is unknown; known: {known}"),
            backend=backend,
            known=", ".join(BACKENDS),
        )
    return backend


def unknown_filters(settings: Settings, backend: str = "local") -> list[UnknownFilters]:
    """Return a warning for each variable that names a filter which the lab does not have.

    In containers each named worker has its own variable, too.
    """
    from labkit.imaging.filters import warning_of_unknown

    named: dict[str, Sequence[str]] = {"WORKER_CAPABILITIES": settings.worker_capabilities}
    if backend == "compose":
        for worker in NAMED_WORKERS:
            variable = capabilities_variable(worker)
            named[variable] = words(os.environ.get(variable, ""))
    warnings = (warning_of_unknown(variable, filters) for variable, filters in named.items())
    return [warning for warning in warnings if warning is not None]
