"""Checks Docker: whether it is installed, answers, and has Compose."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from labkit.cli.doctor_findings import NOTHING, OK, WARN, Finding, sentence
from labkit.cluster.compose import projects, versions
from labkit.core.errors import N_
from labkit.support.settings import Settings

DOCKER_S = 10.0


def check_docker(_settings: Settings) -> Iterator[Finding]:
    without = sentence(
        N_("the lab works without it; for the containers of day 3, install Docker and Docker Compose")
    )
    if shutil.which("docker") is None:
        yield Finding("docker", WARN, sentence(N_("not installed")), without)
        return
    version, complaint = _ask("docker", "version", "--format", "{{.Server.Version}}")
    if version is None:
        denied = "permission denied" in complaint.lower()
        advice = (
            sentence(
                N_("add yourself to the group docker (sudo usermod -aG docker $USER), then log in again")
            )
            if denied
            else sentence(N_("start Docker, if you want the containers of day 3; the lab works without it"))
        )
        yield Finding(
            "docker",
            WARN,
            sentence(N_("installed, but its engine does not answer: {why}"), why=complaint),
            advice,
        )
        return
    compose, complaint = _ask("docker", "compose", "version", "--short")
    if compose is None and shutil.which("docker-compose"):
        compose, complaint = _ask("docker-compose", "version", "--short")
    if compose is None:
        found = sentence(N_("engine {version}, but no Compose: {why}"), version=version, why=complaint)
        yield Finding("docker", WARN, found, without)
    elif wrong := versions.trouble(compose):
        found = sentence(wrong, version=version, compose=compose)
        yield Finding(
            "docker", WARN, found, sentence(N_("for the containers of day 3, install a newer Compose"))
        )
    else:
        found = sentence(N_("engine {version}, Compose {compose}"), version=version, compose=compose)
        yield Finding("docker", OK, found, NOTHING)
    if unheard := projects.only_in_env_file():
        found = sentence(
            N_("only docker-compose reads these settings from its file .env: {names}"),
            names=", ".join(unheard),
        )
        yield Finding(
            "docker", WARN, found, sentence(N_("set them in the environment, so that labkit reads them too"))
        )


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
    printed = ran.stdout.strip().splitlines()
    if ran.returncode == 0 and printed:
        return printed[0], ""
    complaints = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
    return None, complaints[0] if complaints else f"exit code {ran.returncode}"
