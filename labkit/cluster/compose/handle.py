"""A cluster of containers: the handle that notebooks and the command line hold, as ``LocalCluster`` is.

Only what differs stands here: processes are containers (``labkit.cluster.compose.containers``), signals are
``docker kill
stop start pause unpause``, the history is a copy that follows the broker's own
(``labkit.cluster.compose.history_copy``).

* A fault's instant is the broker's, read from the history, not the host's: with Docker Desktop the containers
  live in a virtual machine with a clock of its own.
* A container keeps its process number across restarts, so a worker is ready when the broker hears it again;
  that its predecessor is gone, the broker has seen by the closed connection.
* Workers 1 to 3 have names; whatever ``scale`` adds is of the elastic service ``worker``.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from labkit.cluster.cluster import NOTE_S, Cluster, wait_for_fault
from labkit.cluster.compose import containers as stack
from labkit.cluster.compose import keys
from labkit.cluster.compose.docker import Engine, run
from labkit.cluster.compose.history_copy import Follower, new_folder
from labkit.cluster.compose.reaper import Guardian
from labkit.cluster.history_file import EventFile
from labkit.cluster.processes import (
    BROKER,
    KILLED,
    REDIS,
    RUNNING,
    STOPPED,
    STOPPING,
    WORKER,
    check_fits,
    check_worker_count,
)
from labkit.cluster.run_folder import RunFolder
from labkit.core.errors import N_, ClusterError, LabkitError
from labkit.security.credentials import Credentials

log = logging.getLogger(__name__)

COMMANDS = {"kill": "kill", "stop": "stop", "start": "start", "pause": "pause", "resume": "unpause"}
ASK_AGENT = ("python", "-P", "-m", "labkit.cluster.compose.agent", "--ask")
DOWN_S = 60.0
UP_S = 120.0


class ComposeCluster(Cluster):
    """A handle on a stack that is up; any number of them may exist. ``guardian``: the stack is ours alone."""

    backend = "compose"

    def __init__(
        self,
        engine: Engine,
        name: str,
        credentials: Credentials,
        home: Path | None = None,
        *,
        guardian: Guardian | None = None,
        redis: bool = True,
        policy: str = "",
    ) -> None:
        containers = engine.containers()
        if not containers:
            raise stack.not_running(engine.project)
        ports = stack.ports_of(containers)
        redis = redis and "redis" in ports
        super().__init__(
            name, home or Path(), f"tcp://127.0.0.1:{ports['client']}",
            f"tcp://127.0.0.1:{ports['event']}",
            f"redis://127.0.0.1:{ports['redis']}/0" if redis else None, credentials,
        )  # fmt: skip
        self.ports = ports
        self.policy = policy
        engine.environ["LABKIT_TAG"] = stack.tag_of(containers)  # what scale adds is of the same code
        self._home = home
        """The run folder of a background cluster: for its note, and its history after it has gone."""
        self._engine = engine
        self._guardian = guardian
        self._own_folder: Path | None = None
        self._follower: Follower | None = None
        self._follow_lock = threading.Lock()
        self._leaving: dict[str, threading.Thread] = {}  # container -> who removes it
        self._unrecorded: list[dict[str, Any]] = []
        self._pid = os.getpid()

    # --- the backend's part ---------------------------------------------------------------------------------

    def _rows(self) -> list[stack.Row]:
        leaving = set(self._leaving)  # before we look: what is removed meanwhile is leaving all the same
        containers = self._engine.containers()
        if not containers:
            raise stack.not_running(self._engine.project)
        rows = stack.rows_of(containers)
        for row in rows:
            if row["container"] in leaving:
                row["state"] = STOPPING
        return rows

    def _backend_status(self) -> dict[str, Any]:
        return {"processes": self._rows(), "unrecorded_faults": list(self._unrecorded)}

    def _backend_check(self, fault: str, name: str) -> str:
        rows = self._rows()
        row = stack.find(rows, name)
        if not _is_the_agents(row, fault):
            check_fits(fault, name, row["state"])
        return next((str(row["state"]) for row in rows if row["kind"] == "broker"), "none")

    def _backend_act(self, fault: str, name: str, recorded: bool) -> None:
        if not recorded:
            self._unrecorded.append({"fault": fault, "target": name, "wall": time.time()})
        row = stack.find(self._rows(), name)
        if _is_the_agents(row, fault):
            ran = run(["docker", "exec", row["container"], *ASK_AGENT, name, fault], self._engine.environ)
            if ran.returncode != 0:
                raise ClusterError(N_("{why}"), why=ran.stderr.strip())
        else:
            self._engine.docker(COMMANDS[fault], row["container"])

    def _fault(self, fault: str, name: str) -> float:
        """Do it; return the instant at which the broker noted it, by its clock. If it could not: by ours."""
        events = self._events_from_now_on()
        unrecorded = len(self._unrecorded)
        noted_at = super()._fault(fault, name)
        if len(self._unrecorded) > unrecorded:
            return noted_at
        event = wait_for_fault(events, fault, name, time.monotonic() + NOTE_S)
        return noted_at if event is None else event.at

    def _is_ready(self, row: dict[str, Any], picture: dict[str, Any]) -> bool:
        return any(
            known["id"] == row["name"] and known["status"] in ("ready", "busy")
            for known in picture["workers"]
        )

    # --- size -----------------------------------------------------------------------------------------------

    def scale(self, n: int) -> list[str]:
        check_worker_count(n)
        there = [row for row in self._rows() if row["kind"] == WORKER and row["state"] != STOPPING]
        named = {row["name"]: row for row in there if row["name"] in stack.NAMED_WORKERS}
        elastic = sorted((row for row in there if row["name"] not in named), key=lambda row: row["number"])
        missing = [name for name in stack.NAMED_WORKERS[:n] if name not in named]
        more = max(0, n - len(stack.NAMED_WORKERS)) - len(elastic)
        leaving = [named[name] for name in stack.NAMED_WORKERS[n:] if name in named]
        leaving += elastic[len(elastic) + min(more, 0) :]
        for row in leaving:
            self._remove(row)
        if missing or more > 0:
            wanted = list(missing)
            if more > 0:
                wanted += [stack.ELASTIC, "--scale", f"{stack.ELASTIC}={len(elastic) + more}"]
            self._engine.compose(
                "up", "-d", "--no-deps", "--no-recreate", "--no-build", *wanted, timeout_s=UP_S
            )
        return [r["name"] for r in self._rows() if r["kind"] == WORKER and r["state"] != STOPPING]

    def _remove(self, row: stack.Row) -> None:
        """Let a worker drain, then remove its container; meanwhile others go on."""
        container = row["container"]

        def remove() -> None:
            try:
                if row["state"] not in (KILLED, STOPPED):
                    self._engine.docker("stop", container)
                self._engine.docker("rm", container)
            except LabkitError as error:
                log.warning("%s could not be removed: %s", row["name"], error)
            finally:
                del self._leaving[container]  # it is gone, or what Docker says it is

        self._leaving[container] = threading.Thread(target=remove, name="labkit-remove")
        self._leaving[container].start()

    # --- looking --------------------------------------------------------------------------------------------

    def logs(self, worker: str | None = None, lines: int = 50) -> str:
        rows = self._rows()
        if worker is not None:
            return self._log_of(stack.find(rows, worker), lines)
        width = max(len(row["name"]) for row in rows)
        return "".join(
            f"{row['name']:<{width}} | {line}"
            for row in rows
            for line in self._log_of(row, lines).splitlines(keepends=True)
        )

    def _log_of(self, row: stack.Row, lines: int) -> str:
        ran = subprocess.run(
            ["docker", "logs", "--tail", str(lines), row["container"]], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env=self._engine.environ, check=False,
        )  # fmt: skip
        return ran.stdout if not ran.stdout or ran.stdout.endswith("\n") else ran.stdout + "\n"

    def follow_logs(self, worker: str | None, lines: int) -> int:
        """Print the logs as they come, as ``docker compose logs``, until Ctrl-C; return its exit code."""
        services = []
        if worker is not None:
            stack.find(self._rows(), worker)
            known = (*stack.NAMED_WORKERS, BROKER, REDIS, stack.LAB)
            services = [worker if worker in known else stack.ELASTIC]
        command = [*self._engine.compose_command(), "logs", "--follow", "--tail", str(lines), *services]
        return subprocess.run(command, env=self._engine.environ, check=False).returncode

    def event_file(self) -> EventFile:
        self._follow()
        return super().event_file()

    def keep_history(self) -> Path | None:
        if self._home is None:
            return None
        try:
            self.history()
        except LabkitError:
            return None
        folder = RunFolder(self._home)
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.begin_history()
        shutil.copyfile(self.folder / "events.jsonl", folder.events_file)
        return folder.events_file

    def lab_url(self) -> str | None:
        if "lab" not in self.ports:
            return None
        return f"http://127.0.0.1:{self.ports['lab']}/?token={keys.lab_token(self._engine)}"

    def _follow(self) -> None:
        """Have the history copied from now on; one copy a handle."""
        with self._follow_lock:
            if self._follower is None:
                if self._own_folder is None:  # or an attempt before this one has failed
                    self.folder = self._own_folder = new_folder()
                broker = stack.find(self._rows(), "broker")
                self._follower = Follower(self._engine, broker["container"], self.folder / "events.jsonl")

    # --- the end --------------------------------------------------------------------------------------------

    def down(self) -> None:
        for thread in list(self._leaving.values()):
            thread.join()
        self._stop_following()
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            if complaint := guardian.let_go(DOWN_S):
                raise ClusterError(
                    N_("the containers of {project} could not be removed: {why}"),
                    project=self._engine.project, why=complaint.strip().splitlines()[-1],
                )  # fmt: skip
        elif self._engine.containers():
            self._engine.compose("down", "--remove-orphans", timeout_s=DOWN_S)
        if self._home is not None:
            RunFolder(self._home).compose_file.unlink(missing_ok=True)

    def _owns_cluster(self) -> bool:
        return self._guardian is not None

    def close(self) -> None:
        if self._pid != os.getpid():
            return  # a forked child has a copy of this object, and must not end what it shares
        try:
            super().close()
        finally:
            for thread in list(self._leaving.values()):
                thread.join()
            self._stop_following()
            if self._own_folder is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)

    def _stop_following(self) -> None:
        with self._follow_lock:
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()


def _is_the_agents(row: stack.Row, fault: str) -> bool:
    """Return whether the process may be down in a container that runs: by the lab's doing, not Docker's."""
    has_agent = row["kind"] in (BROKER, WORKER)
    return has_agent and row["state"] == RUNNING and fault in ("start", "resume")
