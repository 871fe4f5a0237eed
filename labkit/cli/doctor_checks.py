"""Checks this machine for what the lab needs: each finding has a state, a description and advice.

* Each check is a function that yields findings and changes nothing. ``fail`` means that the lab cannot run.
  Anything that costs only a part of it (no Docker, a taken port, one core) is a ``warn``.
* The checks must run when packages are missing. So this module imports only the standard library and the
  parts of labkit that need no package; psutil is used if it is installed.
* Findings keep sentence and values apart: the command translates them, JSON stays English.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from labkit.cluster import ports
from labkit.cluster.compose import projects
from labkit.cluster.run_folder import RunFolder, State
from labkit.core.errors import N_, SettingsError
from labkit.mirror import server
from labkit.mirror.url import parse_url
from labkit.support.settings import Settings

OK, WARN, FAIL = "ok", "warn", "fail"

ROOT = Path(__file__).parents[2]
OLDEST_PYTHON = (3, 11)
GOOD_MEMORY_BYTES = 1 << 30
GOOD_DISK_BYTES = 1 << 30
LEAST_DISK_BYTES = 100 << 20
DOCKER_S = 10.0
PING_S = 1.0

# The cluster needs these; the rest of requirements.txt is for notebooks, charts and tests.
NEEDED = {
    "pyzmq": "zmq",
    "msgpack": "msgpack",
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "tifffile": "tifffile",
    "redis": "redis",
    "psutil": "psutil",
    "rich": "rich",
    "babel": "babel",
}

_REQUIREMENT = re.compile(r'([\w.-]+)==([^\s;#]+)\s*(?:;\s*sys_platform\s*(==|!=)\s*"(\w+)")?')


class Said(NamedTuple):
    """A sentence in English and its values; ``str()`` joins them."""

    template: str
    params: dict[str, object]

    def __str__(self) -> str:
        return self.template.format(**self.params)


class Finding(NamedTuple):
    """What one check found: ``state`` is ok, warn or fail; ``advice`` is what to do, or empty."""

    topic: str
    state: str
    found: Said
    advice: Said


def said(template: str, **params: object) -> Said:
    """Return a sentence; ``template`` has been marked with N_."""
    return Said(template, params)


NOTHING = said("")
TOPICS = {
    "python": N_("Python"),
    "environment": N_("environment"),
    "packages": N_("packages"),
    "ports": N_("ports"),
    "redis": N_("Redis"),
    "docker": N_("Docker"),
    "cores": N_("cores"),
    "memory": N_("memory"),
    "disk": N_("disk"),
    "cluster": N_("cluster"),
}


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield each finding as soon as it is known; Docker may take seconds to answer."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _ports,
        _redis,
        _docker,
        _published,
        _cores,
        _memory,
        _disk,
        _clusters,
    )
    for check in checks:
        yield from check(settings)


# --- Python -------------------------------------------------------------------------------------------------


def _python(_settings: Settings) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    found = said(N_("{version} ({executable})"), version=version, executable=sys.executable)
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", FAIL, found, said(N_("the lab needs Python 3.11 or newer")))
    else:
        yield Finding("python", OK, found, NOTHING)
    if sys.prefix != sys.base_prefix:
        yield Finding("environment", OK, said(N_("a virtual environment, {path}"), path=sys.prefix), NOTHING)
    else:
        yield Finding(
            "environment",
            WARN,
            said(N_("no virtual environment")),
            said(N_("python3 lab.py makes one with the tested packages, and uses it")),
        )


def requirements(text: str, platform: str = sys.platform) -> dict[str, str]:
    """Return the pinned version of each package that requirements.txt wants on this platform."""
    wanted = {}
    for line in text.splitlines():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, version, relation, where = match.groups()
        if where is None or (platform == where) == (relation == "=="):
            wanted[name] = version
    return wanted


def _packages(_settings: Settings) -> Iterator[Finding]:
    try:
        wanted = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    except OSError as error:
        found = said(N_("requirements.txt cannot be read: {reason}"), reason=error.strerror or str(error))
        yield Finding("packages", WARN, found, NOTHING)
        return
    missing, other = [], []
    for name, version in wanted.items():
        installed = _installed(name)
        if installed is None:
            missing.append(name)
        elif installed != version:
            other.append(f"{name} {installed} ({version})")
    install = said(N_("python3 lab.py doctor installs them into an environment of the lab's own"))
    needed = [name for name in missing if name in NEEDED and importlib.util.find_spec(NEEDED[name]) is None]
    if missing:
        found = said(N_("missing: {names}"), names=", ".join(missing))
        yield Finding("packages", FAIL if needed else WARN, found, install)
    if other:
        found = said(N_("other versions than the tested ones: {names}"), names=", ".join(other))
        yield Finding("packages", WARN, found, install)
    if not missing and not other:
        found = said(N_("all {n} of requirements.txt, in the tested versions"), n=len(wanted))
        yield Finding("packages", OK, found, NOTHING)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- ports and Redis ----------------------------------------------------------------------------------------


def _ports(settings: Settings) -> Iterator[Finding]:
    wanted = {
        "client": settings.client_port,
        "worker": settings.worker_port,
        "event": settings.event_port,
        "redis": settings.redis_port,
    }
    asked, hosts = ports.asked_for(os.environ), ports.hosts(settings.host)
    of_clusters = _ports_of_clusters(settings)
    free = []
    for kind, port in wanted.items():
        if (obstacle := ports.obstacle(hosts[kind], port)) is None:
            free.append(str(port))
        elif port in of_clusters:
            found = said(
                N_("{port} is used by the lab's cluster {name!r}"), port=port, name=of_clusters[port]
            )
            yield Finding("ports", OK, found, NOTHING)
        else:
            who = _listener(port)
            found = said(N_("{port} ({kind}): {obstacle}"), port=port, kind=kind, obstacle=obstacle)
            if who is not None:
                found = said(N_("{port} ({kind}) is taken by {who}"), port=port, kind=kind, who=who)
            if kind in asked:  # set explicitly, so the cluster does not pick another
                advice = said(
                    N_("end that program, or choose another port with {variable}"),
                    variable=ports.VARIABLES[kind],
                )
                yield Finding("ports", FAIL, found, advice)
            elif kind == "redis":
                advice = said(N_("the cluster takes a free one, and redis-cli then needs -p and its number"))
                yield Finding("ports", WARN, found, advice)
            else:
                yield Finding(
                    "ports", WARN, found, said(N_("the cluster takes a free one; up and status show it"))
                )
    if free:
        yield Finding("ports", OK, said(N_("free: {ports}"), ports=", ".join(free)), NOTHING)


def _ports_of_clusters(settings: Settings) -> dict[int, str]:
    """Return the ports of this user's running clusters, and of all in containers, each with its cluster's
    name."""
    found = {
        port: projects.cluster_of(project.name, settings.home)
        for project in projects.running()
        for port in project.ports
    }
    for state in _running_clusters(settings):
        found |= dict.fromkeys(state["ports"].values(), state["name"])
    return found


def _running_clusters(settings: Settings) -> list[State]:
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


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is not None:
        address = parse_url(settings.redis_url)  # shows no password
        try:
            answers = server.ping(settings.redis_url, PING_S)
        except (SettingsError, ImportError):
            answers = False
        if answers:
            yield Finding(
                "redis", OK, said(N_("the server in REDIS_URL answers: {url}"), url=address), NOTHING
            )
        else:
            found = said(N_("the server in REDIS_URL does not answer, or refuses access: {url}"), url=address)
            advice = said(N_("start it, correct REDIS_URL, or unset it: the lab then starts its own"))
            yield Finding("redis", WARN, found, advice)
        return
    binary = server.find_binary()
    if binary is not None:
        yield Finding("redis", OK, said(N_("the lab starts its own: {path}"), path=binary), NOTHING)
    else:
        found = said(N_("no server on this machine, so redis-cli has nothing to show; everything else works"))
        yield Finding(
            "redis",
            WARN,
            found,
            said(N_("if you want to use redis-cli, set REDIS_URL to a Redis on another machine")),
        )


# --- Docker -------------------------------------------------------------------------------------------------


def _docker(_settings: Settings) -> Iterator[Finding]:
    without = said(
        N_("the lab works without it; for the containers of day 3, install Docker and Docker Compose")
    )
    if shutil.which("docker") is None:
        yield Finding("docker", WARN, said(N_("not installed")), without)
        return
    version, complaint = _ask("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        denied = "permission denied" in complaint.lower()
        advice = (
            said(N_("add yourself to the group docker (sudo usermod -aG docker $USER), then log in again"))
            if denied
            else said(N_("start Docker, if you want the containers of day 3; the lab works without it"))
        )
        yield Finding(
            "docker",
            WARN,
            said(N_("installed, but its engine does not answer: {why}"), why=complaint),
            advice,
        )
        return
    compose, complaint = _ask("docker", "compose", "version", "--short")
    if compose is None and shutil.which("docker-compose"):
        compose, complaint = _ask("docker-compose", "version", "--short")
    if compose is None:
        found = said(N_("engine {version}, but no Compose: {why}"), version=version, why=complaint)
        yield Finding("docker", WARN, found, without)
    else:
        found = said(N_("engine {version}, Compose {compose}"), version=version, compose=compose)
        yield Finding("docker", OK, found, NOTHING)
    if unheard := projects.only_in_env_file():
        found = said(
            N_("only docker-compose reads these settings from its file .env: {names}"),
            names=", ".join(unheard),
        )
        yield Finding(
            "docker", WARN, found, said(N_("set them in the environment, so that labkit reads them too"))
        )


def _published(settings: Settings) -> Iterator[Finding]:
    """Warn of ports that docker-compose would publish, and that a program outside of it has."""
    if shutil.which("docker") is None:
        return
    wanted = {
        "LABKIT_CLIENT_PORT": settings.client_port,
        "LABKIT_EVENT_PORT": settings.event_port,
        "LABKIT_REDIS_PORT": settings.redis_port,
        "LABKIT_LAB_PORT": settings.lab_port,
    }
    contained = {port for project in projects.running() for port in project.ports}
    taken = {
        variable: port
        for variable, port in wanted.items()
        if port not in contained and ports.obstacle(ports.REDIS_HOST, port) is not None
    }
    if taken:
        found = said(
            N_("docker-compose up -d would stop halfway, because these ports are taken: {ports}"),
            ports=", ".join(map(str, taken.values())),
        )
        advice = said(
            N_(
                "python -m labkit up --backend compose takes free ones; or name free ones: {variables}, in a "
                "file .env beside docker-compose.yml"
            ),
            variables=", ".join(taken),
        )
        yield Finding("docker", WARN, found, advice)


def _ask(*command: str) -> tuple[str | None, str]:
    """Run a command that prints a version; return it, or None and the first line of the complaint."""
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DOCKER_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {DOCKER_S:g} s"
    except OSError as error:
        return None, error.strerror or str(error)
    said_ = ran.stdout.strip().splitlines()
    if ran.returncode == 0 and said_:
        return said_[0], ""
    complaints = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
    return None, complaints[0] if complaints else f"exit code {ran.returncode}"


# --- the machine --------------------------------------------------------------------------------------------


def _cores(_settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = said(N_("available: {n}"), n=cores)
    if cores >= 2:
        yield Finding("cores", OK, found, NOTHING)
    else:
        yield Finding(
            "cores",
            WARN,
            found,
            said(N_("everything works, but with one core no engine is faster than another")),
        )


def _memory(_settings: Settings) -> Iterator[Finding]:
    try:
        import psutil
    except ImportError:
        return
    memory = psutil.virtual_memory()
    found = said(N_("{free} MB free of {total} MB"), free=memory.available >> 20, total=memory.total >> 20)
    if memory.available >= GOOD_MEMORY_BYTES:
        yield Finding("memory", OK, found, NOTHING)
    else:
        yield Finding(
            "memory",
            WARN,
            found,
            said(N_("close other programs: three workers with photos take about 500 MB")),
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    elsewhere = said(N_("make room, or set LABKIT_HOME to a folder elsewhere"))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("disk", FAIL, said(N_("{path} cannot be written to"), path=settings.home), elsewhere)
        return
    free = shutil.disk_usage(folder).free
    found = said(N_("{free} MB free for {path}"), free=free >> 20, path=settings.home)
    if free >= GOOD_DISK_BYTES:
        yield Finding("disk", OK, found, NOTHING)
    else:
        yield Finding("disk", WARN if free >= LEAST_DISK_BYTES else FAIL, found, elsewhere)


def _clusters(settings: Settings) -> Iterator[Finding]:
    local = [str(state["name"]) for state in _running_clusters(settings)]
    contained = [projects.cluster_of(each.name, settings.home) for each in projects.running()]
    both = set(local) & set(contained)
    if local:
        found = said(N_("running: {names}"), names=", ".join(local))
        option = _option(local, settings) + (" --backend local" if both else "")
        yield Finding(
            "cluster", OK, found, said(N_("python -m labkit status{option} shows it"), option=option)
        )
    if contained:
        found = said(N_("running in containers: {names}"), names=", ".join(contained))
        option = _option(contained, settings) + " --backend compose"
        yield Finding(
            "cluster", OK, found, said(N_("python -m labkit status{option} shows it"), option=option)
        )
    if not local and not contained:
        yield Finding("cluster", OK, said(N_("none is running")), said(N_("python -m labkit up starts one")))


def _option(names: list[str], settings: Settings) -> str:
    """Return the option that chooses the first of these clusters; empty if commands mean it without one."""
    return "" if settings.cluster in names else f" --name {names[0]}"
