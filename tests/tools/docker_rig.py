"""What the tests with containers share: the engine, built images, a stack of their own, and work to disturb.

Every stack has a project name and ports of its own: a developer's own stack is neither used nor hurt. At the
end nothing of it may be left, neither container nor network nor volume, and the rig says so if it is.
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
from labkit.cluster import ports
from labkit.cluster.compose import images
from labkit.cluster.compose.docker import Engine
from labkit.cluster.compose.handle import ComposeCluster
from labkit.cluster.compose.keys import of_host
from labkit.imaging import photos
from labkit.imaging.filters import Step, parse_steps
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until

STEPS: list[Step] = parse_steps(["sharpen", "edges"], {"sharpen": {"intensity": 3}})
AT_ONCE = 24
"""Tasks that a ``Load`` keeps open."""


def require_engine() -> None:
    """Skip without a Docker engine and Compose; in CI, fail."""
    answers = all(_works(*command) for command in (("docker", "info"), ("docker-compose", "version")))
    require(answers, "a Docker engine that answers, and docker-compose")


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def built() -> None:
    """Build the images of the sources that are here, unless it has been done: minutes, the first time."""
    faulthandler.cancel_dump_traceback_later()  # for this one test, longer than any test may take
    images.build_if_need_be(Engine("labkit", os.environ))


class Stack:
    """A stack under test: commands as they are typed, and the handle that labkit has on it."""

    def __init__(self) -> None:
        self.project = f"labkit-test-{secrets.token_hex(4)}"
        chosen = ports.choose("127.0.0.1", {}, usual=False)
        self.redis_port = chosen["redis"]
        published = {**chosen, "lab": chosen["worker"]}  # containers do not publish the workers' port
        self.environ = {
            **os.environ, "COMPOSE_PROJECT_NAME": self.project,
            **{f"LABKIT_{kind.upper()}_PORT": str(port) for kind, port in published.items()},
        }  # fmt: skip
        self.engine = Engine(self.project, self.environ)
        images.build_if_need_be(self.engine)
        self.environ["LABKIT_TAG"] = self.engine.environ["LABKIT_TAG"]  # the code that is under test

    def type(self, line: str) -> str:
        """Run a command as a student types it, and return what it printed; it must succeed."""
        ran = subprocess.run(
            line.split(), env=self.environ, cwd=ROOT, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ran.returncode == 0, f"{line}: {ran.stderr}{ran.stdout}"
        return ran.stdout

    def redis_cli(self, words: str) -> str:
        """Run redis-cli on the host, at the published port."""
        command = f"docker run --rm --network host redis:7-alpine redis-cli -p {self.redis_port} {words}"
        return self.type(command)

    def connect(self) -> ComposeCluster:
        """Return a handle on the stack."""
        return ComposeCluster(self.engine, self.project, of_host(self.engine))

    def container(self, name: str) -> str:
        """Return the id of the container of a process."""
        cluster_rows = self._rows()
        return str(next(row["container"] for row in cluster_rows if row["name"] == name))

    def _rows(self) -> list[dict[str, Any]]:
        from labkit.cluster.compose import containers as stack

        return stack.rows_of(self.engine.containers())

    def left_behind(self) -> list[str]:
        """Return what Docker still has of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        found = []
        for words in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            found += self.engine.docker(*words, "--filter", label).split()
        return found


@contextmanager
def stack_up() -> Iterator[Stack]:
    """Bring a stack up with the course's own command, and leave nothing of it behind."""
    stack = Stack()
    try:
        stack.type("docker-compose up -d")
        yield stack
    finally:
        stack.type("docker-compose down --volumes --timeout 3")
        assert stack.left_behind() == []


class Load:
    """Keeps photographs in work, in a thread of its own, until ``finish``; every result is compared with the
    plain loop's."""

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
            assert done, "nothing has come for a minute"
            for future in done:
                assert future.result() == self._expected[left.pop(future)]
                self.done += 1

    def until(self, predicate: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """Wait for a true value of ``predicate`` while the work goes on, and return it."""

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
        """Submit no more, and wait for everything that is open: nothing is lost, nothing comes twice."""
        self._finishing.set()
        try:
            self._result.result(90.0)
        finally:
            self._client.close()  # so the thread ends in any case
            self._thread.shutdown()
        assert self._client.duplicates == 0
