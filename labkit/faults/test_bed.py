"""The test bed of a case: one live cluster, ways to harm it, and waiting for what the history shows.

A ``TestBed`` owns the cluster, its clients and extra processes that a cluster usually lacks: a second worker
of the same name, a worker behind a network that can be cut. Claims go to its `judge`. Everything that a case
opens here is closed with the test bed, however the case ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from labkit.cluster.cluster import Cluster
from labkit.cluster.local.plan import environment as environment_of
from labkit.cluster.local.start import open_cluster
from labkit.cluster.options import ClusterOptions
from labkit.cluster.processes import python
from labkit.cluster.run_folder import RunFolder, State
from labkit.core import history as h
from labkit.core.errors import N_, LabkitError, PortInUse
from labkit.core.history import Event, History, LiveView
from labkit.core.protocol.rules import Rules
from labkit.faults.judge import Judge, NotReached
from labkit.faults.machine import Machine
from labkit.faults.work import Work
from labkit.support.settings import Settings, rule_variables

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture
    from labkit.faults.network import Network

POLL_S = 0.005
PATIENCE_S = 60.0
"""An event that has not happened after this long will not happen: the claim has failed."""
START_PATIENCE_S = 30.0
"""A task must start within this time, so that the case can inject its fault."""
T = TypeVar("T")


class CannotTry(LabkitError):
    """The fault could not be injected: no Redis on this machine, a task that ended too soon."""


class NoCluster(LabkitError):
    """The cluster did not come up."""


class TestBed:
    """See the module's head. ``rules``: the values that differ from the defaults."""

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 3,
        redis: bool = False,
        capabilities: Mapping[str, Sequence[str]] | None = None,
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        # The promises are numbers, so they are tested with the default rules, not with the user's.
        self.settings = replace(
            settings, rules=Rules(**(rules or {})), redis_url=None, worker_capabilities=()
        )
        self._options = ClusterOptions(workers, "faults", capabilities, redis=redis)
        self._spawned: dict[str, subprocess.Popen[bytes]] = {}
        self._lifeline: tuple[int, int] | None = (
            None  # a pipe that ends with this process: labkit.support.parent_watch
        )
        self._opened = ExitStack()
        self.cluster: Cluster
        self.judge: Judge
        self.machine: Machine
        self.work = Work()
        self._live = LiveView()
        self._read = 0  # events that the live view has taken in

    def __enter__(self) -> Self:
        try:
            self.cluster = self._opened.enter_context(open_cluster(self._options, self.settings))
            if sys.platform != "win32":
                self._lifeline = os.pipe()
            self._opened.callback(self._end_spawned)
            self.machine = self._opened.enter_context(Machine(self._pids))
            self.judge = Judge(self.machine)
        except PortInUse:  # one that the environment asks for: no case could be tried
            self._opened.close()
            raise
        except LabkitError as error:
            self._opened.close()
            raise NoCluster(N_("the cluster did not come up: {error}"), error=error) from error
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    # --- clients and processes ------------------------------------------------------------------------------

    def client(self, name: str = "") -> Client:
        """Return a new client. The test bed closes it."""
        return self._opened.enter_context(self.cluster.client(name))

    def network(self, bytes_per_s: float | None = None) -> Network:
        """Return a network in front of the workers' port. The test bed closes it."""
        from labkit.faults.network import Network

        return self._opened.enter_context(Network(self.cluster.ports["worker"], bytes_per_s))

    def start_worker(
        self, name: str, network: Network | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Return the process of an extra worker without a supervisor, behind ``network`` if given."""
        own = f"tcp://127.0.0.1:{self.cluster.ports['worker']}"
        return self.spawn(
            f"extra-{name}",
            python("workers"),
            {
                "WORKER_ID": name,
                "LABKIT_BROKER": network.address if network is not None else own,
                "LABKIT_TOKEN_FILE": str(self.token_file),
                **rule_variables(self.settings.rules),
                **environment,
            },
        )

    def spawn(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Return a process started beside the cluster's. `printed` returns its output.

        It ends with the test bed or, if this process is killed, by itself.
        """
        watched = {} if self._lifeline is None else {"LABKIT_LIFELINE": str(self._lifeline[0])}
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**environment_of(self.settings), **environment, **watched},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if self._lifeline is None else self._lifeline[:1],
            )
        self._spawned[name] = process
        return process

    def printed(self, name: str) -> str:
        """Return the output of a spawned process."""
        return self._log(name).read_text(encoding="utf-8", errors="replace")

    def _log(self, name: str) -> Path:
        return self.cluster.folder / "logs" / f"{name}.log"

    def _end_spawned(self) -> None:
        for process in self._spawned.values():
            if process.poll() is None:
                process.kill()
        for process in self._spawned.values():
            process.wait(10)
        for descriptor in self._lifeline or ():
            os.close(descriptor)

    @property
    def token_file(self) -> Path:
        """The file with the cluster's secret."""
        return self.cluster.folder / "token"

    def pid_of(self, name: str) -> int:
        """Return the process id of worker-1, broker, redis …"""
        rows = self.cluster.status()["processes"]
        pid = next(row["pid"] for row in rows if row["name"] == name)
        assert pid is not None, name
        return pid

    def state(self) -> State | None:
        """Return the contents of ``cluster.json``; None when the cluster has ended."""
        return RunFolder(self.cluster.folder).read_state()

    def _pids(self) -> Iterable[int]:
        """Return the processes whose waiting for a processor excuses a delay: the cluster's, and this one."""
        state = self.state()
        named = [] if state is None else [pid for pid, _born in state["processes"].values()]
        return [os.getpid(), *named, *(process.pid for process in self._spawned.values())]

    # --- waiting --------------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The history, as far as it has been written."""
        return self.cluster.history()

    @property
    def live(self) -> LiveView:
        """The present state, as far as the history has been written."""
        events = self.history.events
        self._live.extend(events[self._read :])
        self._read = len(events)
        return self._live

    def wait_until(self, condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
        """Return the first true value of ``condition()``.

        Raises NotReached after ``patience_s``, and adds ``what`` as a missed claim.
        """
        value = _waited(condition, patience_s)
        if not value:
            error = NotReached(what, seconds=patience_s)
            self.judge.not_reached(error, patience_s)
            raise error
        return value

    def wait_for(self, kind: str, *, worker: str = "", task: str = "", since: float = 0.0) -> Event:
        """Return the first event of this kind about this worker or task, at or after ``since`` (the broker's
        clock); wait for it."""

        def found() -> list[Event]:
            return self.events(kind, worker=worker, task=task, since=since)[:1]

        what = {
            h.LOST: N_("no worker was given up within {seconds:g} s"),
            h.JOINED: N_("no worker joined again within {seconds:g} s"),
            h.DONE: N_("there was no result within {seconds:g} s"),
        }
        else_ = N_("what should happen did not within {seconds:g} s")
        return self.wait_until(found, what.get(kind, else_))[0]

    def events(self, kind: str = "", *, worker: str = "", task: str = "", since: float = 0.0) -> list[Event]:
        """Return the recorded events of this kind about this worker or task, at or after ``since``."""
        return [
            event
            for event in self.history.events
            if (not kind or event.kind == kind)
            and (not worker or event.worker == worker)
            and (not task or event.task == task)
            and event.at >= since
        ]

    def wait_for_start(
        self, workers: Iterable[str] = (), future: TaskFuture | None = None, among: set[str] | None = None
    ) -> tuple[str, str]:
        """Return (worker, task) of an attempt that has started and not ended: the target of a fault.

        ``workers``: one of these. ``future``: this task. ``among``: one of these tasks. Raises CannotTry if
        none starts in time, or if the task has ended.
        """
        wanted = set(workers)
        tasks = {future.task_id} if future is not None else among

        def started() -> list[tuple[str, str]]:
            return [
                (worker, task)
                for task, worker in self.live.running().items()
                if (not wanted or worker in wanted) and (tasks is None or task in tasks)
            ]

        found = _waited(lambda: started() or (future is not None and future.done()), START_PATIENCE_S)
        if found is True:
            raise CannotTry(N_("the task was over before the fault could be done"))
        if not found:
            raise CannotTry(N_("no task had started after {seconds:g} s"), seconds=START_PATIENCE_S)
        return found[0]

    def wait_for_progress(self, n: int) -> None:
        """Wait until ``n`` more of the work's tasks have an outcome, or all have."""
        target = min(self.work.done + n, len(self.work.futures))
        self.wait_until(lambda: self.work.done >= target, N_("the work stood still for {seconds:g} s"))

    def wait_until_ready(self) -> None:
        """Wait until every worker that should be up is ready again."""
        self.cluster.wait_until_ready(PATIENCE_S)

    # --- claims of every case -------------------------------------------------------------------------------

    def finish_work(self) -> None:
        """Wait for every outcome. Claim that all are right, that each came once, and that the history breaks
        no promise."""
        work, judge = self.work, self.judge
        self.wait_until(
            lambda: work.done == len(work.futures), N_("not every task had an outcome after {seconds:g} s")
        )
        # A killed broker loses the last few hundredths of a second of its recording. A client that has its
        # result by then does not submit the task again; so only tasks open at the present broker count.
        tasks = work.tasks
        self.wait_until(
            lambda: tasks.isdisjoint(self.live.open),
            N_("not every outcome was in the history after {seconds:g} s"),
        )
        self.wait_until(lambda: sum(work.resolutions.values()) >= len(tasks), N_("a future was not resolved"))
        judge.count(N_("{n} of {wanted} outcomes right"), work.right, len(tasks))
        twice = sum(n - 1 for n in work.resolutions.values())
        judge.count(N_("{n} delivered twice"), twice, 0)
        violations = [str(violation) for violation in self.history.check(ended=False)]
        if self.history.has_gaps:
            judge.true(N_("the history has a gap"), False)
        if violations:
            judge.true(N_("a promise was broken: {violation}"), False, violation=violations[0])

    def expect_no_loss(self) -> None:
        """Claim that no worker was given up."""
        n = len(self.events(h.LOST))
        self.judge.unless_slow(N_("{n} workers wrongly given up"), n == 0, self.silencing_s, n=n)

    @property
    def silencing_s(self) -> float:
        """How long a worker must be without a processor before the broker may give it up."""
        rules = self.settings.rules
        return rules.dead_s - rules.heartbeat_s


def _waited(condition: Callable[[], T], patience_s: float) -> T:
    """Return the first true value of ``condition()``, or its last false one after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return value
