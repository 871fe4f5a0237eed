"""The compose projects of this lab that run on this machine, however they were started.

This module runs one docker command with a short timeout: tens of milliseconds are usual, and the doctor
(``labkit.cli.doctor_checks``) must not hang when Docker does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from labkit.cluster.run_folder import RunFolder
from labkit.support.paths import ROOT

PROJECT = "labkit"
"""The project of the cluster "default"; other clusters are ``labkit-NAME``."""
ENV_FILE = ROOT / ".env"
"""Beside docker-compose.yml."""
ASK_S = 3.0
OF_OURS = ("labkit-broker", "labkit-worker", "labkit-lab")
"""The images by which a project is recognized as the lab's."""

_SETTING = re.compile(r"^\s*(?:export\s+)?((?:LABKIT_|WORKER_|COMPOSE_)\w+)\s*=", re.MULTILINE)
_PUBLISHED = re.compile(r":(\d+)->")
_FORMAT = '{{.Label "com.docker.compose.project"}}\t{{.Image}}\t{{.Ports}}'


class Project(NamedTuple):
    """A compose project with running containers, and the ports of this machine that it publishes."""

    name: str
    ports: frozenset[int]


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
    ours = set()
    for line in ran.stdout.splitlines() if ran.returncode == 0 else ():
        project, image, published = line.split("\t")
        ports.setdefault(project, set()).update(map(int, _PUBLISHED.findall(published)))
        if image.partition(":")[0] in OF_OURS:
            ours.add(project)
    return [Project(name, frozenset(ports[name])) for name in sorted(ours)]


def cluster_of(project: str, home: Path) -> str:
    """Return the cluster of ``project``: by the note that ``up`` left in ``home``, or by the naming rule."""
    for folder in sorted((home / "clusters").glob("*/")):
        if RunFolder(folder).compose_project() == project:
            return folder.name
    return "default" if project == PROJECT else project.removeprefix(f"{PROJECT}-")


def only_in_env_file(path: Path = ENV_FILE) -> list[str]:
    """Return the settings that are in compose's file ``.env`` but not in the environment.

    docker-compose reads that file; no other part of the lab does.
    """
    try:
        names = _SETTING.findall(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []  # usually there is no such file
    return [name for name in dict.fromkeys(names) if name not in os.environ]
