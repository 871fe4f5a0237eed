"""Runs ``docker`` and ``docker compose``, and turns their complaints into errors that give the next step.

The compose file is the lab's own, ``docker-compose.yml`` beside labkit, unless another one is named. Compose
runs as ``docker compose`` or as ``docker-compose``, whichever is installed.

This module knows containers, not clusters; ``labkit.cluster.compose.containers`` maps one to the other.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from labkit.cluster.compose.docker_json import Container
from labkit.core.errors import N_, BackendMissing, ClusterError, LabkitError, PortInUse
from labkit.support.paths import ROOT

COMPOSE_FILE = ROOT / "docker-compose.yml"
COMMAND_S = 60.0
BUILD_S = 1800.0
"""The first build fetches some 300 MB."""

NOT_THE_MATTER = re.compile(
    r"^\s*$|DEPRECATED|buildx|docs\.docker\.com|(Container|Network|Volume|Image) \S+ [A-Z][a-z]+ *$"
)
"""Lines of Docker's output that never contain the reason of a failure."""


ENGINES_OWN = ("unable to freeze", "pause failed: timeout of")
"""Parts of the engine's complaint that its own attempt to freeze a container ran out, and changed nothing.
runc looks a fixed number of times whether all processes stand still; on a crowded machine they had no
processor to stop on. Its authors leave trying again to the caller (opencontainers/runc, pull request
4388)."""
ATTEMPTS = 5


class DockerTimedOut(ClusterError):
    """Docker did not answer in time; the request may have been carried out."""

    definite = False


def run_command(
    command: Sequence[str], environ: Mapping[str, str] | None = None, timeout_s: float = COMMAND_S
) -> subprocess.CompletedProcess[str]:
    """Return the ended process of ``command``, with its output.

    Raises BackendMissing if there is no such program, DockerTimedOut if it takes longer than ``timeout_s``.
    """
    try:
        return subprocess.run(
            command,
            env=environ,
            timeout=timeout_s,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise no_docker() from error
    except subprocess.TimeoutExpired as error:
        raise DockerTimedOut(
            N_("{command} has not ended within {seconds:g} s; docker ps -a shows what became of it"),
            command=" ".join(command[:4]),
            seconds=timeout_s,
        ) from error


def is_engines_own(complaint: str) -> bool:
    """Return whether the engine complains of an attempt of its own that ran out and changed nothing."""
    return any(sign in complaint.lower() for sign in ENGINES_OWN)


def no_docker() -> BackendMissing:
    """Return the error of a machine without Docker."""
    return BackendMissing(
        N_(
            "Docker is not installed; get it from https://docs.docker.com/get-docker/, "
            "or use the local backend, which needs nothing"
        )
    )


class Docker:
    """Docker, for one compose project. ``environ``: the values of the compose file's variables."""

    def __init__(self, project: str, environ: Mapping[str, str], file: Path = COMPOSE_FILE) -> None:
        self.project = project
        self.file = file
        self.environ = {**environ, "COMPOSE_PROJECT_NAME": project, "DOCKER_CLI_HINTS": "false"}
        self._compose: list[str] | None = None

    def run(self, *words: str, timeout_s: float = COMMAND_S) -> str:
        """Return the output of ``docker WORDS``. If it fails, raises the error that ``explain`` returns.

        What the engine itself calls an attempt that ran out (``ENGINES_OWN``) is tried again.
        """
        for _attempt in range(ATTEMPTS):
            ran = run_command(["docker", *words], self.environ, timeout_s)
            if ran.returncode == 0 or not is_engines_own(ran.stderr):
                break
        if ran.returncode != 0:
            raise explain(f"docker {words[0]}", ran.stderr + ran.stdout)
        return ran.stdout

    def compose(self, *words: str, timeout_s: float = COMMAND_S) -> str:
        """Return the output of ``docker compose WORDS`` for the project; errors as in ``run``."""
        ran = run_command([*self.compose_command(), *words], self.environ, timeout_s)
        if ran.returncode != 0:
            raise explain(f"docker compose {words[0]}", ran.stderr + ran.stdout)
        return ran.stdout

    def compose_command(self) -> list[str]:
        """Return the command line of compose, without its arguments. BackendMissing if there is none."""
        if self._compose is None:
            self._compose = [*_find_compose(self.environ), "-f", str(self.file), "-p", self.project]
        return self._compose

    def containers(self) -> list[Container]:
        """Return ``docker inspect`` of every container of the project, running or not."""
        label = f"label=com.docker.compose.project={self.project}"
        for _attempt in range(3):
            ids = self.run("ps", "-aq", "--no-trunc", "--filter", label).split()
            if not ids:
                return []
            ran = run_command(["docker", "inspect", *ids], self.environ)
            if ran.returncode == 0:
                inspected: list[Container] = json.loads(ran.stdout)
                return inspected
            if "No such object" not in ran.stderr:
                break  # otherwise a container was removed between the two commands: list them again
        raise explain("docker inspect", ran.stderr)


def _find_compose(environ: Mapping[str, str]) -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            ran = run_command([*command, "version", "--short"], environ)
        except BackendMissing:
            continue
        version = re.match(r"v?(\d+)", ran.stdout.strip())
        if ran.returncode == 0 and version is not None and int(version[1]) >= 2:
            return command
    run_command(["docker", "--version"], environ)  # without Docker itself, raises the error that says so
    raise BackendMissing(
        N_(
            "Docker is here, but not Compose 2 or newer; install Docker Desktop or the package "
            "docker-compose-plugin, or use the local backend, which needs nothing"
        )
    )


# --- errors -------------------------------------------------------------------------------------------------


def explain(command: str, complaint: str) -> LabkitError:
    """Return the error for Docker's ``complaint``: its meaning in one line, and the next step."""
    text = complaint.lower()
    sockets = ("docker.sock", "daemon socket", "docker api")
    if "permission denied" in text and any(name in text for name in sockets):
        return BackendMissing(
            N_(
                "you may not use Docker: no permission on its socket; "
                "sudo usermod -aG docker $USER, then log in again"
            )
        )
    if (
        "cannot connect to the docker daemon" in text
        or "error during connect" in text
        or ("failed to connect to the docker api" in text)
    ):
        return BackendMissing(
            N_(
                "Docker's engine does not answer; start Docker Desktop, or on Linux: "
                "sudo systemctl start docker"
            )
        )
    if "is already allocated" in text or "address already in use" in text:
        found = re.search(r"(?:\d+\.\d+\.\d+\.\d+|localhost|\[::\]):(\d+)", complaint)
        return PortInUse(
            N_(
                "port {port} is taken; end the program that has it, or run python -m labkit up --backend "
                "compose, which takes a free one unless you choose one (--client-port, --event-port, "
                "--redis-port, --api-port; LABKIT_LAB_PORT)"
            ),
            port=found[1] if found else "?",
        )
    if "no space left on device" in text:
        return ClusterError(
            N_(
                "no space is left on Docker's disk; 'docker system df' shows what it holds, "
                "'docker image prune' frees some"
            )
        )
    if (
        "could not find a version" in text
        or "no matching distribution" in text
        or ("newconnectionerror" in text or "temporary failure in name resolution" in text)
    ):
        return ClusterError(
            N_(
                "the packages for the images could not be fetched: is this machine online? "
                "Without a network: python -m labkit images import FILE"
            )
        )
    if own := re.search(r"no such image: (labkit-[\w./-]+(?::[\w.-]+)?)", text):
        return ClusterError(
            N_(
                "the image {image} is missing; docker-compose build, in the lab's folder, or "
                "python -m labkit images build makes it"
            ),
            image=own[1],
        )
    if _cannot_pull(text):
        found = re.search(r"Image (\S+) Error", complaint) or re.search(
            r"(?:image|for|manifest for) [\"'`]?([\w./-]+(?::[\w.-]+)?)", complaint
        )
        return ClusterError(
            N_(
                "the image {image} cannot be pulled ({why}); is this machine online? "
                "Without a network: python -m labkit images import FILE"
            ),
            image=found[1] if found else "python:3.11-slim",
            why=_last_line(complaint),
        )
    return ClusterError(
        N_("{command} failed: {why}; python -m labkit doctor checks Docker too"),
        command=command,
        why=_last_line(complaint),
    )


def _cannot_pull(text: str) -> bool:
    signs = (
        "pull access denied",
        "manifest unknown",
        "failed to resolve",
        "error pulling image",
        "failed to pull",
        "registry-1.docker.io",
        "no such image",
        "tls handshake timeout",
        "not found: manifest",
        "lookup registry",
    )
    return any(sign in text for sign in signs)


def _last_line(complaint: str) -> str:
    lines = [line.strip() for line in complaint.splitlines() if not NOT_THE_MATTER.search(line)]
    return lines[-1] if lines else "no output"
