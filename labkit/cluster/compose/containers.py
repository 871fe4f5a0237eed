"""Shows the containers of one compose project as a cluster's processes: one row each.

A service of the compose file is a process of that name. The elastic service ``worker`` has any number of
containers. Each of them is a worker with the name of its container (``labkit-worker-2``), which its agent
uses too (``labkit.cluster.compose.own_name``). So each name means one worker everywhere: in status, Redis,
panel and history, in ``docker-compose ps`` and for ``docker kill``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NotRequired, TypeVar

from labkit.cluster.compose.docker_json import Container, ContainerState
from labkit.cluster.compose.projects import OF_OURS
from labkit.cluster.processes import (
    API,
    BROKER,
    KILLED,
    LONG_LIFE_S,
    PAUSED,
    REDIS,
    RESTARTING,
    RUNNING,
    STOPPED,
    WORKER,
    ProcessRow,
    how_it_ended,
)
from labkit.core.errors import N_, ClusterError, ClusterNotRunning, InvalidInput
from labkit.core.names import is_name

NAMED_WORKERS = ("worker-1", "worker-2", "worker-3")
ELASTIC = "worker"
LAB = "lab"
KEYS = "keys"

SIGKILL_CODE = 137
SHORT_ID = 12
FIRST_PAUSE_S = 0.1
"""Docker's pause before a container's first restart."""
MANY = 1000
"""A container's host name is this many characters of its id."""

PUBLISHED: Mapping[str, tuple[str, str]] = {
    "client": (BROKER, "5555/tcp"),
    "event": (BROKER, "5557/tcp"),
    "redis": (REDIS, "6379/tcp"),
    API: (API, "8000/tcp"),
    LAB: (LAB, "8888/tcp"),
}
"""By the port's name: the service, and the port inside its container."""


class ClusterIncomplete(ClusterError):
    """A part of a cluster in containers is missing; ``up`` makes it again."""


class Row(ProcessRow):
    """One container as a process of the cluster."""

    container: str
    """Its id."""
    number: NotRequired[int]
    """Which of the elastic workers it is, by its service's count."""


AnyRow = TypeVar("AnyRow", bound=ProcessRow)


def capabilities_variable(worker: str) -> str:
    """Return the compose file's variable for the capabilities of one of the named workers."""
    return f"{worker.upper().replace('-', '_')}_CAPABILITIES"


def rows_of(containers: list[Container]) -> list[Row]:
    """Return a row for each process, ordered as in a local cluster: broker, redis, workers; then lab."""
    rows = [row_of(container) for container in containers if service_of(container) != KEYS]
    return sorted(rows, key=_order)


def row_of(container: Container) -> Row:
    """Return the row of one container for ``Cluster.status``, with its id as ``container``."""
    service, state = service_of(container), container["State"]
    elastic = service == ELASTIC
    container_name = container.get("Name", "").removeprefix("/")
    up_s = _age_s(state["StartedAt"]) if state["Running"] else None
    name = _state_name(state)
    restarts = int(container["RestartCount"])
    settled = name != RESTARTING and (up_s is None or up_s >= LONG_LIFE_S)
    short_lives = 0 if settled or not restarts else min(restarts, _short_lives_at_most(state))
    return {
        "name": elastic_name(container_name, container["Id"]) if elastic else service,
        "kind": WORKER if elastic or service in NAMED_WORKERS else service,
        "state": name,
        "pid": state["Pid"] or None,
        "restarts": restarts,
        "short_lives": short_lives,
        "last_exit": _last_exit(state),
        "up_s": up_s,
        # Docker waits 0.1 s, then each time twice as long, a minute at most.
        "restart_in_s": min(60.0, FIRST_PAUSE_S * 2.0**short_lives) if short_lives else None,
        "health": state.get("Health", {}).get("Status", ""),
        "container": container["Id"],
        "container_name": container_name,
        "unstarted": is_unstarted(container),
        "number": int(container["Config"]["Labels"].get("com.docker.compose.container-number", "1")),
    }


def elastic_name(container_name: str, container_id: str) -> str:
    """Return an elastic worker's name: its container's, or one made of the id if that cannot be used."""
    if is_name(container_name):
        return container_name
    return f"{WORKER}-{container_id[:SHORT_ID]}"


def service_of(container: Container) -> str:
    """Return the name of the container's service in the compose file."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def ports_of(containers: list[Container]) -> dict[str, int]:
    """Return the published ports by name, also those of containers that are down."""
    ports = {}
    by_service = {service_of(container): container for container in containers}
    for name, (service, inside) in PUBLISHED.items():
        if service in by_service:
            bindings = by_service[service]["HostConfig"]["PortBindings"] or {}
            for binding in bindings.get(inside) or ():
                ports[name] = int(binding["HostPort"])
    return ports


def is_unstarted(container: Container) -> bool:
    """Return whether the container was made and never started, as when its port was taken."""
    return container["State"]["Status"] in ("created", "dead")


def missing(containers: list[Container]) -> list[str]:
    """Return the services without which a project is incomplete: those that never started, keys and broker.

    A worker that has no container is not missing: ``scale`` may have removed it.
    """
    unstarted = [service_of(container) for container in containers if is_unstarted(container)]
    there = {service_of(container) for container in containers}
    return sorted({*unstarted, *({KEYS, BROKER} - there)})


def has_broker(containers: list[Container]) -> bool:
    """Return whether the broker's container is there, up or down."""
    return "client" in ports_of(containers) and "event" in ports_of(containers)


def no_broker(project: str) -> ClusterIncomplete:
    """Return the error of a project whose broker has no container."""
    return ClusterIncomplete(
        N_(
            "the broker's container of the project {project} is missing; "
            "python -m labkit up --backend compose brings it back"
        ),
        project=project,
    )


def tag_of(containers: list[Container]) -> str:
    """Return the tag of the images of these containers."""
    images = [str(container["Config"]["Image"]) for container in containers]
    tags = [tag for name, _colon, tag in (image.partition(":") for image in images) if name in OF_OURS]
    return next(filter(None, tags), "latest")


def find(rows: Sequence[AnyRow], name: str) -> AnyRow:
    """Return the row of the process ``name``. Raises InvalidInput, with the known names, if there is none."""
    for row in rows:
        if row["name"] == name:
            return row
    for row in rows:
        if row.get("container_name") == name:
            raise InvalidInput(
                N_("{container} is the container of {name}; use the name {name}"),
                container=name,
                name=row["name"],
            )
    raise InvalidInput(
        N_("{name!r} is unknown; the cluster has {known}"),
        name=name,
        known=", ".join(row["name"] for row in rows),
    )


def not_running(project: str) -> ClusterNotRunning:
    """Return the error of a project that has no containers."""
    return ClusterNotRunning(
        N_(
            "no containers of the project {project!r} are running; "
            "python -m labkit up --backend compose starts them"
        ),
        project=project,
    )


def _state_name(state: ContainerState) -> str:
    if state["Status"] == "exited" or state["Status"] == "dead":
        return KILLED if state["ExitCode"] == SIGKILL_CODE else STOPPED
    known = {"running": RUNNING, "paused": PAUSED, "restarting": RESTARTING}
    return known.get(state["Status"], STOPPED)  # created: not started yet


def _last_exit(state: ContainerState) -> str:
    if state["FinishedAt"].startswith("0001-"):
        return ""  # it has not ended yet
    if state["OOMKilled"]:
        return "SIGKILL: out of memory"
    code = state["ExitCode"]
    return how_it_ended(128 - code if code > 128 else code)  # as in a shell, 137 means SIGKILL


def _short_lives_at_most(state: ContainerState) -> int:
    """Return how many short lives in a row there can have been.

    Docker counts the restarts of all days. Its own pause tells how many were in a row: it doubles with each
    short life, and is short again after a long one.
    """
    started, ended = state["StartedAt"], state["FinishedAt"]
    if ended.startswith("0001-"):
        return MANY
    pause_s = (_instant(started) - _instant(ended)).total_seconds()
    if pause_s < 0.0:  # it waits for its next start; its last life was this long
        return 0 if -pause_s >= LONG_LIFE_S else MANY
    return int(math.log2(max(pause_s, FIRST_PAUSE_S) / FIRST_PAUSE_S))


def _age_s(instant: str) -> float:
    """Return the seconds since an instant in Docker's notation."""
    began = _instant(instant)
    return max(0.0, (datetime.now(began.tzinfo) - began).total_seconds())


def _instant(text: str) -> datetime:
    """Return an instant in Docker's notation: 2026-11-26T22:59:56.123456789Z."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text).replace("Z", "+00:00"))


def _order(row: Row) -> tuple[int, str, int]:
    kinds = (BROKER, REDIS, WORKER)
    kind = kinds.index(row["kind"]) if row["kind"] in kinds else len(kinds)
    named = row["name"] in NAMED_WORKERS
    return kind, row["name"] if named else "~", row["number"]
