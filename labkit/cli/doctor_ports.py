"""Checks the ports that a cluster would use: free, taken by a cluster of the lab, or by another program.

It imports only the standard library and parts of labkit that need no package; psutil is used if it is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from labkit.cli.doctor_findings import FAIL, NOTHING, OK, WARN, Finding, sentence
from labkit.cluster import ports
from labkit.cluster.compose import projects
from labkit.cluster.run_folder import RunFolder, State
from labkit.core.errors import N_
from labkit.support.settings import Settings


def check_ports(settings: Settings) -> Iterator[Finding]:
    wanted = {
        "client": settings.client_port,
        "worker": settings.worker_port,
        "event": settings.event_port,
        "redis": settings.redis_port,
        ports.API: ports.API_USUAL if settings.api_port is None else settings.api_port,
    }
    asked = ports.asked_for(os.environ)
    hosts = {**ports.hosts(settings.host), ports.API: ports.API_HOST}
    of_clusters = _ports_of_clusters(settings)
    free = []
    for kind, port in wanted.items():
        if (obstacle := ports.obstacle(hosts[kind], port)) is None:
            free.append(str(port))
        elif port in of_clusters:
            found = sentence(
                N_("{port} is used by the lab's cluster {name!r}"), port=port, name=of_clusters[port]
            )
            yield Finding("ports", OK, found, NOTHING)
        else:
            program = _listener(port)
            found = sentence(N_("{port} ({kind}): {obstacle}"), port=port, kind=kind, obstacle=obstacle)
            if program is not None:
                found = sentence(N_("{port} ({kind}) is taken by {who}"), port=port, kind=kind, who=program)
            if kind in asked:  # set explicitly, so the cluster does not pick another
                advice = sentence(
                    N_("end that program, or choose another port with {variable}"),
                    variable=ports.VARIABLES[kind],
                )
                # A cluster comes up without its HTTP side.
                yield Finding("ports", WARN if kind == ports.API else FAIL, found, advice)
            elif kind == "redis":
                advice = sentence(
                    N_("the cluster takes a free one, and redis-cli then needs -p and its number")
                )
                yield Finding("ports", WARN, found, advice)
            else:
                yield Finding(
                    "ports", WARN, found, sentence(N_("the cluster takes a free one; up and status show it"))
                )
    if free:
        yield Finding("ports", OK, sentence(N_("free: {ports}"), ports=", ".join(free)), NOTHING)


def _ports_of_clusters(settings: Settings) -> dict[int, str]:
    """Return the ports of this user's running clusters, and of all in containers, each with its cluster's
    name."""
    found = {
        port: projects.cluster_of(project.name, settings.home)
        for project in projects.running()
        for port in project.ports
    }
    for state in running_clusters(settings):
        found |= dict.fromkeys(state["ports"].values(), state["name"])
    return found


def running_clusters(settings: Settings) -> list[State]:
    folder = settings.home / "clusters"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    states = [RunFolder(folder / name).running() for name in names]
    return [state for state in states if state is not None]


def _listener(port: int) -> str | None:
    """Return the program that listens on ``port``, if the operating system reveals it."""
    try:
        import psutil

        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return None
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except ImportError:
        return None
    except psutil.Error:
        return None  # another user's program: macOS reveals it to root only
    return None


def check_published(settings: Settings) -> Iterator[Finding]:
    """Warn of ports that docker-compose would publish, and that a program outside of it has."""
    if shutil.which("docker") is None:
        return
    wanted = {
        "LABKIT_CLIENT_PORT": settings.client_port,
        "LABKIT_EVENT_PORT": settings.event_port,
        "LABKIT_REDIS_PORT": settings.redis_port,
        "LABKIT_API_PORT": ports.API_USUAL if settings.api_port is None else settings.api_port,
        "LABKIT_LAB_PORT": settings.lab_port,
    }
    contained = {port for project in projects.running() for port in project.ports}
    taken = {
        variable: port
        for variable, port in wanted.items()
        if port not in contained and ports.obstacle(ports.REDIS_HOST, port) is not None
    }
    if taken:
        found = sentence(
            N_("docker-compose up -d would stop halfway, because these ports are taken: {ports}"),
            ports=", ".join(map(str, taken.values())),
        )
        advice = sentence(
            N_(
                "python -m labkit up --backend compose takes free ones; or name free ones: {variables}, in a "
                "file .env beside docker-compose.yml"
            ),
            variables=", ".join(taken),
        )
        yield Finding("docker", WARN, found, advice)
