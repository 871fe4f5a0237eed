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
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from labkit.cli.doctor_docker import check_docker
from labkit.cli.doctor_findings import FAIL, NOTHING, OK, WARN, Finding, sentence
from labkit.cli.doctor_ports import check_ports, check_published, running_clusters
from labkit.cluster.compose import projects
from labkit.core.errors import N_, SettingsError
from labkit.mirror import server
from labkit.mirror.url import parse_url
from labkit.support.settings import Settings

ROOT = Path(__file__).parents[2]
OLDEST_PYTHON = (3, 11)
GOOD_MEMORY_BYTES = 1 << 30
GOOD_DISK_BYTES = 1 << 30
LEAST_DISK_BYTES = 100 << 20
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


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield each finding as soon as it is known; Docker may take seconds to answer."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _packages,
        check_ports,
        _redis,
        check_docker,
        check_published,
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
    found = sentence(N_("{version} ({executable})"), version=version, executable=sys.executable)
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", FAIL, found, sentence(N_("the lab needs Python 3.11 or newer")))
    else:
        yield Finding("python", OK, found, NOTHING)
    if sys.prefix != sys.base_prefix:
        yield Finding(
            "environment", OK, sentence(N_("a virtual environment, {path}"), path=sys.prefix), NOTHING
        )
    else:
        yield Finding(
            "environment",
            WARN,
            sentence(N_("no virtual environment")),
            sentence(N_("python3 lab.py makes one with the tested packages, and uses it")),
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
        found = sentence(N_("requirements.txt cannot be read: {reason}"), reason=error.strerror or str(error))
        yield Finding("packages", WARN, found, NOTHING)
        return
    missing, other = [], []
    for name, version in wanted.items():
        installed = _installed(name)
        if installed is None:
            missing.append(name)
        elif installed != version:
            other.append(f"{name} {installed} ({version})")
    install = sentence(N_("python3 lab.py doctor installs them into an environment of the lab's own"))
    needed = [name for name in missing if name in NEEDED and importlib.util.find_spec(NEEDED[name]) is None]
    if missing:
        found = sentence(N_("missing: {names}"), names=", ".join(missing))
        yield Finding("packages", FAIL if needed else WARN, found, install)
    if other:
        found = sentence(N_("other versions than the tested ones: {names}"), names=", ".join(other))
        yield Finding("packages", WARN, found, install)
    if not missing and not other:
        found = sentence(N_("all {n} of requirements.txt, in the tested versions"), n=len(wanted))
        yield Finding("packages", OK, found, NOTHING)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- Redis --------------------------------------------------------------------------------------------------


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is not None:
        address = parse_url(settings.redis_url)  # shows no password
        try:
            answers = server.ping(settings.redis_url, PING_S)
        except (SettingsError, ImportError):
            answers = False
        if answers:
            yield Finding(
                "redis", OK, sentence(N_("the server in REDIS_URL answers: {url}"), url=address), NOTHING
            )
        else:
            found = sentence(
                N_("the server in REDIS_URL does not answer, or refuses access: {url}"), url=address
            )
            advice = sentence(N_("start it, correct REDIS_URL, or unset it: the lab then starts its own"))
            yield Finding("redis", WARN, found, advice)
        return
    binary = server.find_binary()
    if binary is not None:
        yield Finding("redis", OK, sentence(N_("the lab starts its own: {path}"), path=binary), NOTHING)
    else:
        found = sentence(
            N_("no server on this machine, so redis-cli has nothing to show; everything else works")
        )
        yield Finding(
            "redis",
            WARN,
            found,
            sentence(N_("if you want to use redis-cli, set REDIS_URL to a Redis on another machine")),
        )


# --- the machine --------------------------------------------------------------------------------------------


def _cores(_settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = sentence(N_("available: {n}"), n=cores)
    if cores >= 2:
        yield Finding("cores", OK, found, NOTHING)
    else:
        yield Finding(
            "cores",
            WARN,
            found,
            sentence(N_("everything works, but with one core no engine is faster than another")),
        )


def _memory(_settings: Settings) -> Iterator[Finding]:
    try:
        import psutil
    except ImportError:
        return
    memory = psutil.virtual_memory()
    found = sentence(
        N_("{free} MB free of {total} MB"), free=memory.available >> 20, total=memory.total >> 20
    )
    if memory.available >= GOOD_MEMORY_BYTES:
        yield Finding("memory", OK, found, NOTHING)
    else:
        yield Finding(
            "memory",
            WARN,
            found,
            sentence(N_("close other programs: three workers with photos take about 500 MB")),
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.home
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    elsewhere = sentence(N_("make room, or set LABKIT_HOME to a folder elsewhere"))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "disk", FAIL, sentence(N_("{path} cannot be written to"), path=settings.home), elsewhere
        )
        return
    free = shutil.disk_usage(folder).free
    found = sentence(N_("{free} MB free for {path}"), free=free >> 20, path=settings.home)
    if free >= GOOD_DISK_BYTES:
        yield Finding("disk", OK, found, NOTHING)
    else:
        yield Finding("disk", WARN if free >= LEAST_DISK_BYTES else FAIL, found, elsewhere)


def _clusters(settings: Settings) -> Iterator[Finding]:
    local = [str(state["name"]) for state in running_clusters(settings)]
    contained = [projects.cluster_of(each.name, settings.home) for each in projects.running()]
    both = set(local) & set(contained)
    if local:
        found = sentence(N_("running: {names}"), names=", ".join(local))
        option = _option(local, settings) + (" --backend local" if both else "")
        yield Finding(
            "cluster", OK, found, sentence(N_("python -m labkit status{option} shows it"), option=option)
        )
    if contained:
        found = sentence(N_("running in containers: {names}"), names=", ".join(contained))
        option = _option(contained, settings) + " --backend compose"
        yield Finding(
            "cluster", OK, found, sentence(N_("python -m labkit status{option} shows it"), option=option)
        )
    if not local and not contained:
        yield Finding(
            "cluster", OK, sentence(N_("none is running")), sentence(N_("python -m labkit up starts one"))
        )


def _option(names: list[str], settings: Settings) -> str:
    """Return the option that chooses the first of these clusters; empty if commands mean it without one."""
    return "" if settings.cluster in names else f" --name {names[0]}"
