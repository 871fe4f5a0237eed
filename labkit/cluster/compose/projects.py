"""The compose projects of this lab that run on this machine, however they were started.

This module runs one docker command with a short timeout: tens of milliseconds are usual, and the doctor
(``labkit.cli.doctor_checks``) must not hang when Docker does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from labkit.cluster.ports import API, API_USUAL, USUAL
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, InvalidInput
from labkit.support.paths import ROOT
from labkit.support.settings import Settings

PROJECT = "labkit"
"""The project of the cluster "default"; other clusters are ``labkit-NAME``."""
ENV_FILE = ROOT / ".env"
"""Beside docker-compose.yml."""
ASK_S = 3.0
OF_OURS = ("labkit-broker", "labkit-worker", "labkit-lab")
"""The images by which a project is recognized as the lab's. When an image has been built anew or removed
since, Docker lists a number instead; then the folder counts from which the project was started."""

_SETTING = re.compile(r"^\s*(?:export\s+)?((?:LABKIT_|WORKER_|COMPOSE_)\w+)\s*=", re.MULTILINE)
_PORT = re.compile(r"^\s*(?:export\s+)?(LABKIT_\w+_PORT)\s*=\s*[\"']?(\d+)", re.MULTILINE)
_FOUND = re.compile(r"LABKIT_\w+_PORT|COMPOSE_PROJECT_NAME")
_PUBLISHED = re.compile(r":(\d+)->")
_PROJECT = "com.docker.compose.project"
_FORMAT = (
    f'{{{{.Label "{_PROJECT}"}}}}\t{{{{.Image}}}}\t{{{{.Ports}}}}\t{{{{.Label "{_PROJECT}.working_dir"}}}}'
)


class Project(NamedTuple):
    """A compose project with running containers, and the ports of this machine that it publishes."""

    name: str
    ports: frozenset[int]
    folder: str = ""
    """Where docker-compose was called: the folder of the compose file."""


def running() -> list[Project]:
    """Return the lab's running projects, sorted by name; none without Docker, or if it does not answer."""
    if shutil.which("docker") is None:
        return []
    try:
        ran = subprocess.run(
            ["docker", "ps", "--format", _FORMAT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []  # the doctor's own check of Docker reports the reason
    ports: dict[str, set[int]] = {}
    folders: dict[str, str] = {}
    ours = set()
    for line in ran.stdout.splitlines() if ran.returncode == 0 else ():
        project, image, published, *folder = line.split("\t")
        folders[project] = "".join(folder)
        ports.setdefault(project, set()).update(map(int, _PUBLISHED.findall(published)))
        if image.partition(":")[0] in OF_OURS or _is_lab("".join(folder)):
            ours.add(project)
    return [Project(name, frozenset(ports[name]), folders[name]) for name in sorted(ours)]


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


def running_project(name: str, settings: Settings) -> str | None:
    """Return the running project that is the cluster ``name``, however it was started; None without one."""
    try:
        wanted = project_of(name, settings)
    except InvalidInput:
        return None  # no project can have such a name
    return find(name, wanted)


def find(name: str, wanted: str) -> str | None:
    """Return the running project that is the cluster ``name``; None if there is none.

    It is the project ``wanted``, by COMPOSE_PROJECT_NAME, the note or the rule; or one called like the
    cluster; or, for the default cluster, the only one that docker-compose started in this folder under a name
    of the user's own (``-p``, a file ``.env``). Raises ClusterError, with the choice, if there are several.
    """
    there = running()
    names = [project.name for project in there]
    default = name == Settings().cluster
    for candidate in (wanted, PROJECT if default else name):
        if candidate in names:
            return candidate
        if default and os.environ.get("COMPOSE_PROJECT_NAME"):
            return None  # the user means this one and no other
    if not default:
        return None
    here = ROOT.resolve()
    own = [
        p.name for p in there if not _is_of_the_rule(p.name) and p.folder and Path(p.folder).resolve() == here
    ]
    if len(own) > 1:
        raise ClusterError(
            N_("several clusters in containers are up: {names}; choose one: --name {first}"),
            names=", ".join(own),
            first=own[0],
        )
    return own[0] if own else None


def _is_lab(folder: str) -> bool:
    """Return whether a copy of the lab is in ``folder``."""
    return bool(folder) and (Path(folder) / "labkit" / "cluster" / "compose").is_dir()


def _is_of_the_rule(project: str) -> bool:
    """Return whether the rule gives this project to a cluster: it is no name of the user's own."""
    return project == PROJECT or project.startswith(f"{PROJECT}-")


def cluster_of(project: str, home: Path) -> str:
    """Return the cluster of ``project``: by the note that ``up`` left in ``home``, or by the naming rule."""
    for folder in sorted((home / "clusters").glob("*/")):
        if RunFolder(folder).compose_project() == project:
            return folder.name
    return "default" if project == PROJECT else project.removeprefix(f"{PROJECT}-")


def only_in_env_file(path: Path = ENV_FILE) -> list[str]:
    """Return the settings that are in compose's file ``.env`` but not in the environment.

    docker-compose reads that file; no other part of the lab does. Ports and the project's name are left out:
    the lab finds both by asking Docker.
    """
    try:
        names = _SETTING.findall(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []  # usually there is no such file
    return [name for name in dict.fromkeys(names) if name not in os.environ and not _FOUND.fullmatch(name)]


def missing_in_env_file(ports: Mapping[str, int], path: Path = ENV_FILE) -> list[str]:
    """Return the lines that ``.env`` lacks for ``docker-compose up`` to publish these ``ports`` too."""
    try:
        given = dict(_PORT.findall(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        given = {}
    usual = {**USUAL, API: API_USUAL, "lab": Settings().lab_port}
    return [
        f"{variable}={port}"
        for name, port in ports.items()
        if given.get(variable := f"LABKIT_{name.upper()}_PORT", str(usual[name])) != str(port)
    ]
