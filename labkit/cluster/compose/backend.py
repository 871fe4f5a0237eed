"""Backend of containers, seen from the host.

It implements what differs from other backends: processes are containers
(``labkit.cluster.compose.containers``), signals are ``docker kill stop start pause unpause``, and the history
is a copy of the broker's file (``labkit.cluster.compose.history_copy``).

* A fault's instant is the broker's, read from the history, not the host's: with Docker Desktop the containers
  run in a virtual machine with a clock of its own.
* A container may have the same process id after a restart, so a worker counts as ready when the broker hears
  it again. The broker noticed the loss of its predecessor by the closed connection.
* Workers 1 to 3 have names; workers that ``scale`` adds belong to the elastic service ``worker``.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

from labkit.cluster.backend import BackendStatus, Endpoints, last_printed
from labkit.cluster.compose import containers, images, keys
from labkit.cluster.compose.docker import Docker, run_command
from labkit.cluster.compose.docker_json import Container
from labkit.cluster.compose.history_copy import HistoryCopy, new_folder
from labkit.cluster.compose.reaper import Reaper
from labkit.cluster.processes import (
    API,
    BROKER,
    KILLED,
    REDIS,
    RUNNING,
    STOPPED,
    STOPPING,
    WORKER,
    UnrecordedFault,
    check_fits,
    check_worker_count,
)
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, LabkitError
from labkit.core.names import without_controls
from labkit.security.credentials import Credentials
from labkit.support.refusals import refusal

log = logging.getLogger(__name__)

COMMANDS = {"kill": "kill", "stop": "stop", "start": "start", "pause": "pause", "resume": "unpause"}
ASK_AGENT = ("python", "-P", "-m", "labkit.cluster.compose.agent", "--ask")
DOWN_S = 60.0
LAST_LINES = 20
UP_S = 120.0


class ComposeBackend:
    """The running containers of one project. With a ``reaper`` the cluster is private to this process."""

    kind = "compose"
    shares_clock = False
    knows_worker_pids = False

    def __init__(
        self,
        docker: Docker,
        name: str,
        credentials: Credentials,
        home: Path | None = None,
        *,
        reaper: Reaper | None = None,
        redis: bool = True,
        policy: str = "",
    ) -> None:
        found = docker.containers()
        if not found:
            raise containers.not_running(docker.project)
        self._docker = docker
        self._wants_redis = redis
        self.endpoints = Endpoints(
            name=name,
            address="",
            event_address="",
            redis_url=None,
            credentials=credentials,
            policy=policy,
        )
        self._note_ports(found)
        self.folder = home or Path()
        docker.environ["LABKIT_TAG"] = containers.tag_of(found)  # scale adds workers of the same code
        self._home = home
        """The run folder of a background cluster: for its note, and for its history after its end."""
        self._reaper = reaper
        self._own_folder: Path | None = None
        self._history_copy: HistoryCopy | None = None
        self._copy_lock = threading.Lock()
        self._leaving: dict[str, threading.Thread] = {}  # container -> the thread that removes it
        self._unrecorded: list[UnrecordedFault] = []

    @property
    def is_private(self) -> bool:
        """Whether the cluster ends with this process."""
        return self._reaper is not None

    # --- processes ------------------------------------------------------------------------------------------

    def _rows(self) -> list[containers.Row]:
        leaving = set(self._leaving)  # read first: a container removed meanwhile is leaving too
        found = self._docker.containers()
        if not found:
            raise containers.not_running(self._docker.project)
        if containers.has_broker(found):
            self._note_ports(found)
        rows = containers.rows_of(found)
        for row in rows:
            if row["container"] in leaving:
                row["state"] = STOPPING
        return rows

    def _note_ports(self, found: list[Container]) -> None:
        """Take over where the containers are published: one that was made anew may be elsewhere.

        Raises ClusterError if the broker's container is missing.
        """
        if not containers.has_broker(found):
            raise containers.no_broker(self._docker.project)
        ports = containers.ports_of(found)
        redis = self._wants_redis and "redis" in ports
        self.endpoints = replace(
            self.endpoints,
            address=f"tcp://127.0.0.1:{ports['client']}",
            event_address=f"tcp://127.0.0.1:{ports['event']}",
            redis_url=f"redis://127.0.0.1:{ports['redis']}/0" if redis else None,
            ports=ports,
        )

    def find_broker(self) -> str:
        """Return the broker's present address. Raises ClusterError if its container is missing."""
        found = self._docker.containers()
        if not found:
            raise containers.not_running(self._docker.project)
        self._note_ports(found)
        return self.endpoints.address

    def status(self) -> BackendStatus:
        """Return what Docker reports."""
        return {"processes": self._rows(), "unrecorded_faults": list(self._unrecorded)}

    def check(self, fault: str, name: str) -> str:
        """Return the broker's state, if the command applies now."""
        rows = self._rows()
        row = containers.find(rows, name)
        if not _goes_to_agent(row, fault):
            check_fits(fault, name, row["state"])
        return next((str(row["state"]) for row in rows if row["kind"] == "broker"), "none")

    def act(self, fault: str, name: str, recorded: bool) -> None:
        """Carry the command out, by Docker or by the agent in the container."""
        if not recorded:
            self._unrecorded.append({"fault": fault, "target": name, "wall": time.time()})
        row = containers.find(self._rows(), name)
        if _goes_to_agent(row, fault):
            ran = run_command(
                ["docker", "exec", row["container"], *ASK_AGENT, name, fault], self._docker.environ
            )
            if ran.returncode != 0:
                raise ClusterError(N_("{why}"), why=ran.stderr.strip())
        else:
            self._docker.run(COMMANDS[fault], row["container"])

    # --- size -----------------------------------------------------------------------------------------------

    def scale(self, n: int) -> list[str]:
        """Return the names of the ``n`` workers. Those that leave drain in threads of their own."""
        check_worker_count(n)
        there = [row for row in self._rows() if row["kind"] == WORKER and row["state"] != STOPPING]
        named = {row["name"]: row for row in there if row["name"] in containers.NAMED_WORKERS}
        elastic = sorted((row for row in there if row["name"] not in named), key=lambda row: row["number"])
        missing = [name for name in containers.NAMED_WORKERS[:n] if name not in named]
        more = max(0, n - len(containers.NAMED_WORKERS)) - len(elastic)
        leaving = [named[name] for name in containers.NAMED_WORKERS[n:] if name in named]
        leaving += elastic[len(elastic) + min(more, 0) :]
        for row in leaving:
            self._remove(row)
        if missing or more > 0:
            wanted = list(missing)
            if more > 0:
                wanted += [containers.ELASTIC, "--scale", f"{containers.ELASTIC}={len(elastic) + more}"]
            images.restore(self._docker, self._docker.containers())
            self._docker.compose(
                "up", "-d", "--no-deps", "--no-recreate", "--no-build", *wanted, timeout_s=UP_S
            )
        return [r["name"] for r in self._rows() if r["kind"] == WORKER and r["state"] != STOPPING]

    def _remove(self, row: containers.Row) -> None:
        """Let a worker drain and then remove its container, in a thread of its own."""
        container = row["container"]

        def remove() -> None:
            try:
                if row["state"] not in (KILLED, STOPPED):
                    self._docker.run("stop", container)
                self._docker.run("rm", container)
            except LabkitError as error:
                log.warning("%s could not be removed: %s", row["name"], error)
            finally:
                del self._leaving[container]  # from now on Docker's state counts

        self._leaving[container] = threading.Thread(target=remove, name="labkit-remove")
        self._leaving[container].start()

    # --- logs and history -----------------------------------------------------------------------------------

    def logs(self, worker: str | None, lines: int) -> str:
        """Return what Docker kept of the containers' output."""
        rows = self._rows()
        if worker is not None:
            return self._log_of(containers.find(rows, worker), lines)
        width = max(len(row["name"]) for row in rows)
        return "".join(
            f"{row['name']:<{width}} | {line}"
            for row in rows
            for line in self._log_of(row, lines).splitlines(keepends=True)
        )

    def _log_of(self, row: containers.Row, lines: int) -> str:
        ran = subprocess.run(
            ["docker", "logs", "--tail", str(lines), row["container"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._docker.environ,
            check=False,
        )
        return ran.stdout if not ran.stdout or ran.stdout.endswith("\n") else ran.stdout + "\n"

    def last_line(self, name: str) -> str:
        """Return the last line that the process printed."""
        return last_printed(self.logs(name, LAST_LINES), name)

    def follow_logs(self, worker: str | None, lines: int) -> int:
        """Run ``docker compose logs --follow`` until Ctrl-C; return its exit code."""
        services = []
        if worker is not None:
            containers.find(self._rows(), worker)
            known = (*containers.NAMED_WORKERS, BROKER, REDIS, API, containers.LAB)
            services = [worker if worker in known else containers.ELASTIC]
        command = [*self._docker.compose_command(), "logs", "--follow", "--tail", str(lines), *services]
        with subprocess.Popen(
            command, env=self._docker.environ, stdout=subprocess.PIPE, text=True, errors="replace"
        ) as following:
            for line in following.stdout or ():
                print(without_controls(line), end="", flush=True)
        return following.returncode

    def events_file(self) -> Path:
        """Return a copy of the broker's file that is kept up to date from now on."""
        self._start_copy()
        return self.folder / "events.jsonl"

    def keep_history(self) -> Path | None:
        """Return a copy in the run folder; None for a private cluster, or if there is no history to copy."""
        if self._home is None:
            return None
        try:
            self._start_copy()
        except LabkitError as error:
            if isinstance(error.__cause__, OSError):  # there is a history, and the disk refuses the copy
                raise
            return None
        folder = RunFolder(self._home)
        try:
            folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.begin_history()
            shutil.copyfile(self.folder / "events.jsonl", folder.events_file)
        except OSError as error:
            raise ClusterError(
                N_("the history cannot be kept in {file}: {reason}"),
                file=str(folder.events_file),
                reason=refusal(error) or str(error),
            ) from error
        return folder.events_file

    def api_token(self) -> str:
        """Return the token that the service ``keys`` has made."""
        return keys.api_token(self._docker)

    def lab_url(self) -> str | None:
        """Return the address of JupyterLab, if the cluster publishes it."""
        if "lab" not in self.endpoints.ports:
            return None
        return f"http://127.0.0.1:{self.endpoints.ports['lab']}/?token={keys.lab_token(self._docker)}"

    def _start_copy(self) -> None:
        """Start copying the history, unless this handle already does."""
        with self._copy_lock:
            if self._history_copy is None:
                if self._own_folder is None:  # otherwise an earlier attempt has failed
                    self.folder = self._own_folder = new_folder()
                broker = containers.find(self._rows(), "broker")
                self._history_copy = HistoryCopy(
                    self._docker, broker["container"], self.folder / "events.jsonl", self._brokers_container
                )

    def _brokers_container(self) -> str | None:
        found = [c for c in self._docker.containers() if containers.service_of(c) == BROKER]
        return found[0]["Id"] if found else None

    # --- the end --------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Remove the containers."""
        for thread in list(self._leaving.values()):
            thread.join()
        self._stop_copy()
        reaper, self._reaper = self._reaper, None
        if reaper is not None:
            if complaint := reaper.let_go(DOWN_S):
                raise ClusterError(
                    N_("the containers of {project} could not be removed: {why}"),
                    project=self._docker.project,
                    why=complaint.strip().splitlines()[-1],
                )
        elif self._docker.containers():
            self._docker.compose("down", "--remove-orphans", timeout_s=DOWN_S)
        if self._home is not None:
            RunFolder(self._home).compose_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Wait for the workers that leave, and remove the copy of the history."""
        for thread in list(self._leaving.values()):
            thread.join()
        self._stop_copy()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _stop_copy(self) -> None:
        with self._copy_lock:
            history_copy, self._history_copy = self._history_copy, None
        if history_copy is not None:
            history_copy.close()


def _goes_to_agent(row: containers.Row, fault: str) -> bool:
    """Return whether the agent must do the fault: it may have stopped the process in a running container."""
    has_agent = row["kind"] in (BROKER, WORKER)
    return has_agent and row["state"] == RUNNING and fault in ("start", "resume")
