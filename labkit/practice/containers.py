"""Compose projects for the real stage of a check: built, started, and removed with all that was made.

A project has a name of its own, publishes no port and mounts nothing. Its end is the reaper's
(`labkit.cluster.compose.reaper`): a check that is killed leaves no container either.

``python -m labkit.practice.containers FILE PROJECT IMAGE`` removes a project and its image: the reaper's
command.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from labkit.cluster.compose.docker import Docker, explain, run_command
from labkit.cluster.compose.images import is_here
from labkit.cluster.compose.reaper import Reaper
from labkit.cluster.processes import python
from labkit.core.errors import N_, BackendMissing, LabkitError
from labkit.practice.verdict import Finding, Inconclusive

LIMIT_S: Final = 120.0
"""The limit from the first command to the last look, without a first pull of the images."""
PULL_S: Final = 600.0
DOWN_S: Final = 60.0
POLL_S: Final = 0.2
STEP: Final = re.compile(r"^ ---> ([0-9a-f]{12})\s*$", re.MULTILINE)
"""How the classic builder names the image of each step."""
UNHEALTHY: Final = "is unhealthy"
"""What compose says of a service that others wait for in vain."""
MOST_RESTARTS: Final = 3
MACHINES_OWN: Final = (
    "no space left", "temporary failure in name resolution", "newconnectionerror", "address pool",
    "i/o timeout", "deadline exceeded", "cannot allocate memory", "temporarily unavailable",
    "tls handshake timeout",
)  # fmt: skip
"""Parts of complaints that are about the machine or its network, not about the learner's files."""


class Project:
    """A compose project of one check. Every command of it has what is left of ``LIMIT_S``."""

    def __init__(self, docker: Docker, image: str) -> None:
        self.docker = docker
        self.image = image
        self._deadline = time.monotonic() + LIMIT_S
        self._restarts: dict[str, int] = {}  # by container, when it was looked at first

    def build(self, folder: Path) -> None:
        """Build the image from the Dockerfile in ``folder``. Raises Finding if that fails."""
        words = ["docker", "build", "--force-rm", "--tag", self.image, str(folder)]
        ran = self._run(words, DOCKER_BUILDKIT="0")
        if ran.returncode != 0:
            self._remove_steps(ran.stdout)
            raise self._failed(
                ran,
                Finding(
                    "not-built",
                    N_("docker build failed: {why}"),
                    expected=N_("docker build makes an image of the Dockerfile and worker.py"),
                    advice=N_(
                        "Docker names the instruction; its paths are those of the folder and of the image."
                    ),
                    why=_reason(ran),
                ),
            )

    def _remove_steps(self, output: str) -> None:
        """Remove the images of the steps before the one that failed; they have no name, unlike their base."""
        for step in reversed(STEP.findall(output)):
            names = self._run(["docker", "image", "inspect", "--format", "{{len .RepoTags}}", step])
            if names.stdout.strip() == "0":
                self._run(["docker", "image", "rm", step])

    def up(self, answers: Callable[[], bool]) -> None:
        """Start all services, and wait as the file says. Raises Finding if compose refuses.

        ``answers``: whether what the others wait for does its work. On a busy machine that may take longer
        than its health check allows; then the first check after it decides.
        """
        ran = self._compose_up()
        if ran.returncode != 0 and UNHEALTHY in ran.stderr + ran.stdout:
            self.until(answers, N_("Redis answers"))
            before = self._probes()
            self.until(lambda: self._probes() != before, N_("the health check is made once more"))
            ran = self._compose_up()
        if ran.returncode != 0:
            raise self._failed(
                ran,
                Finding(
                    "not-started",
                    N_("docker compose up failed: {why}"),
                    expected=N_("docker compose up starts Redis and three workers"),
                    advice=N_("Compose names the service or the key. Is its health check one that can pass?"),
                    why=_reason(ran),
                ),
            )

    def _compose_up(self) -> subprocess.CompletedProcess[str]:
        return self._run([*self.docker.compose_command(), "up", "--detach", "--no-build", "--pull", "never"])

    def _probes(self) -> list[str]:
        """Return the end of each container's last health check."""
        ends = []
        for container in self.docker.containers():
            health = container["State"].get("Health")
            ends += [probe["End"] for probe in ((health and health.get("Log")) or [])[-1:]]
        return ends

    def ask(self, service: str, *words: str) -> str | None:
        """Return what a command prints in a service's container; None if it fails, as before all is up."""
        ran = self._run([*self.docker.compose_command(), "exec", "--no-TTY", service, *words])
        return ran.stdout if ran.returncode == 0 else None

    def last_words(self, services: list[str]) -> str | None:
        """Return the last line that a container of these services printed before it ended; None: none ended.

        One that is started again has ended for good if that happened ``MOST_RESTARTS`` times since the first
        look: before that, what it needs may not have been there.
        """
        for container in self.docker.containers():
            if container["Config"]["Labels"].get("com.docker.compose.service") in services:
                before = self._restarts.setdefault(container["Id"], container["RestartCount"])
                is_over = container["State"]["Status"] in ("exited", "dead")
                if is_over or container["RestartCount"] - before >= MOST_RESTARTS:
                    return _reason(self._run(["docker", "logs", "--tail", "5", container["Id"]]))
        return None

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition`` holds. Raises Inconclusive, which names ``what``, when time is up."""
        while not condition():
            self._left_s(what)
            time.sleep(POLL_S)

    def _left_s(self, what: str) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise Inconclusive(
                N_("after {seconds:.0f} s this had not happened: {what}"), seconds=LIMIT_S, what=what
            )
        return left_s

    def _run(self, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {**self.docker.environ, **variables}
        return run_command(words, environ, self._left_s(" ".join(words[-4:])))

    def _failed(self, ran: subprocess.CompletedProcess[str], finding: Finding) -> LabkitError:
        complaint = ran.stderr + ran.stdout
        error = explain("docker", complaint)
        machines = isinstance(error, BackendMissing) or any(one in complaint.lower() for one in MACHINES_OWN)
        return error if machines else finding


def why_not() -> LabkitError | None:
    """Return why no container can be started here; None if one can."""
    docker = Docker("labkit-practice", os.environ)
    try:
        docker.run("version", "--format", "{{.Server.Version}}")
        docker.compose_command()
    except BackendMissing as error:
        return error
    return None


@contextmanager
def project(
    files: Mapping[str, str], services: dict[str, dict[str, Any]], images: list[str]
) -> Iterator[Project]:
    """Make a project of these files and services, and remove it at the end.

    Each service with ``build`` gets the one image that ``Project.build`` makes. ``images`` are pulled if this
    machine does not have them. Raises LabkitError if that cannot be done.
    """
    name = f"labkit-practice-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="labkit-practice-") as folder:
        for file, text in files.items():
            Path(folder, file).write_text(text, encoding="utf-8")
        compose_file = Path(folder, "compose.json")
        image = f"{name}:latest"
        made = {
            service: {key: value for key, value in one.items() if key != "build"} | {"image": image}
            if "build" in one
            else one
            for service, one in services.items()
        }
        compose_file.write_text(json.dumps({"services": made}, default=str), encoding="utf-8")
        docker = Docker(name, os.environ, compose_file)
        docker.compose_command()
        for needed in images:
            if not is_here(docker, needed):
                docker.run("pull", "--quiet", needed, timeout_s=PULL_S)
        reaper = Reaper(python("labkit.practice.containers", str(compose_file), name, image), docker.environ)
        try:
            yield Project(docker, image)
        finally:
            reaper.let_go(DOWN_S)


def remove(file: Path, name: str, image: str) -> None:
    """Remove a project's containers, network and image."""
    docker = Docker(name, os.environ, file)
    run_command(
        [*docker.compose_command(), "down", "--volumes", "--remove-orphans", "--timeout", "1"],
        docker.environ,
        DOWN_S,
    )
    run_command(["docker", "image", "rm", "--force", image], docker.environ, DOWN_S)


def _reason(ran: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    return lines[-1][:300] if lines else "?"


if __name__ == "__main__":
    remove(Path(sys.argv[1]), *sys.argv[2:])
