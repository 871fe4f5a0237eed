"""Tools of the tests with containers: built images, a compose project of their own, and a load of tasks.

Every project has its own name and ports, so a developer's project is neither used nor disturbed. At the end
no container, network or volume of it may be left; the rig fails otherwise.
"""

from __future__ import annotations

import faulthandler
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from labkit import jobs
from labkit.client.client import Client
from labkit.cluster import Cluster, ports
from labkit.cluster.compose import containers, images
from labkit.cluster.compose.backend import ComposeBackend
from labkit.cluster.compose.docker import ATTEMPTS, Docker, is_engines_own
from labkit.cluster.compose.keys import of_host
from labkit.imaging import photos
from labkit.imaging.filters import Step, parse_steps
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until

STEPS: list[Step] = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
AT_ONCE = 24
"""Tasks that a ``Load`` keeps open."""


def require_docker() -> None:
    """Skip the test without Docker and Compose; in CI, fail."""
    answers = all(_works(*command) for command in (("docker", "info"), ("docker-compose", "version")))
    require(answers, "Docker, running, and docker-compose")


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def built() -> None:
    """Build the images of the present sources if necessary: minutes, the first time."""
    faulthandler.cancel_dump_traceback_later()  # a first build takes longer than a test may
    images.build_if_need_be(Docker("labkit", os.environ))


class ComposeProject:
    """A compose project under test: commands as a student types them, and labkit's handle on it."""

    def __init__(self) -> None:
        self.name = f"labkit-test-{secrets.token_hex(4)}"
        chosen = ports.choose("127.0.0.1", {}, usual=False)
        self.redis_port = chosen["redis"]
        # Containers do not publish the workers' port.
        self.api_port = ports.choose_for_api(None, usual=False)
        published = {**chosen, "lab": chosen["worker"], "api": self.api_port}
        self.environ = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.name,
            **{f"LABKIT_{kind.upper()}_PORT": str(port) for kind, port in published.items()},
        }
        self.docker = Docker(self.name, self.environ)
        images.build_if_need_be(self.docker)
        self.environ["LABKIT_TAG"] = self.docker.environ["LABKIT_TAG"]  # the code under test

    def type(self, line: str) -> str:
        """Run a command as a student types it, and return its output; it must succeed.

        An engine that could not freeze a container on a crowded machine is asked again, as labkit does.
        """
        for _attempt in range(ATTEMPTS):
            ran = subprocess.run(
                line.split(),
                env=self.environ,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
            )
            if ran.returncode == 0 or not is_engines_own(ran.stderr):
                break
        assert ran.returncode == 0, f"{line}: {ran.stderr}{ran.stdout}"
        return ran.stdout

    def wait_for_output(self, line: str, text: str, timeout_s: float = 20.0) -> None:
        """Run a command again until its output has ``text``: what a process prints comes in its own time."""
        wait_until(lambda: text in self.type(line), timeout_s, f"{text!r} in the output of {line}")

    def redis_cli(self, words: str) -> str:
        """Return the output of redis-cli on the host, at the published port."""
        command = f"docker run --rm --network host redis:7-alpine redis-cli -p {self.redis_port} {words}"
        return self.type(command)

    def connect(self) -> Cluster:
        """Return a handle on the cluster."""
        return Cluster(ComposeBackend(self.docker, self.name, of_host(self.docker)))

    def container(self, name: str) -> str:
        """Return the id of the container of a process."""
        cluster_rows = self._rows()
        return str(next(row["container"] for row in cluster_rows if row["name"] == name))

    def _rows(self) -> list[containers.Row]:
        return containers.rows_of(self.docker.containers())

    def left_behind(self) -> list[str]:
        """Return the ids of all that Docker still has of this project."""
        label = f"label=com.docker.compose.project={self.name}"
        found = []
        for words in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            found += self.docker.run(*words, "--filter", label).split()
        return found


@contextmanager
def project_up() -> Iterator[ComposeProject]:
    """Bring a project up with the course's own command; at the end, leave nothing of it."""
    project = ComposeProject()
    try:
        project.type("docker-compose up -d")
        yield project
    finally:
        project.type("docker-compose down --volumes --timeout 3")
        assert project.left_behind() == []


class Load:
    """Submits photographs in its own thread until ``finish``; compares every result with a plain loop's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inputs = [photo.bytes() for photo in photos.bundled()[2:8]]
        self._expected = [jobs.process_encoded(data, STEPS) for data in self._inputs]
        self._number = 0
        self._finishing = threading.Event()
        self.done = 0
        self._thread = ThreadPoolExecutor(1, "load")
        self._result = self._thread.submit(self._run)

    def _run(self) -> None:
        left: dict[Future[Any], int] = {}
        while left or not self._finishing.is_set():
            while len(left) < AT_ONCE and not self._finishing.is_set():
                number = self._number % len(self._inputs)
                self._number += 1
                left[self._client.submit(jobs.process_encoded, self._inputs[number], STEPS)] = number
            done, _not_done = wait(left, 60.0, FIRST_COMPLETED)
            assert done, "no result for a minute"
            for future in done:
                assert future.result() == self._expected[left.pop(future)]
                self.done += 1

    def until(self, predicate: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Wait for a true value of ``predicate`` while the load goes on, and return it."""

        def judged() -> Any:
            if self._result.done():
                self._result.result()
            return predicate()

        return wait_until(judged, timeout_s, what)

    def more(self, n: int) -> None:
        """Wait for ``n`` more results."""
        enough = self.done + n
        self.until(lambda: self.done >= enough, 60.0, f"{n} more results")

    def finish(self) -> None:
        """Stop submitting, and wait for all open tasks: no result is lost, none comes twice."""
        self._finishing.set()
        try:
            self._result.result(90.0)
        finally:
            self._client.close()  # so the thread ends in any case
            self._thread.shutdown()
        assert self._client.duplicates == 0
