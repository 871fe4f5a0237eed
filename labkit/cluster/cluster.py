"""The one interface of every cluster, whatever its processes run in: this machine, or containers.

A backend knows how its processes are listed, signalled and logged (the methods that begin with
``_backend_``). What is the same everywhere stands here: a fault is noted in the history before it takes
effect, the broker is asked for its picture, the history is read from the run folder.

How a fault is done::

    check (does the name exist? does it apply now?)  →  note it through the broker  →  do it
                                                        1 s at most; if the broker cannot, the status counts
                                                        it

Every fault command returns the instant at which it was noted (``time.monotonic()``; on one machine that is
the broker's clock too), so that "recovery" is measured from there.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from labkit.cluster.processes import STARTED
from labkit.cluster.status import WorkerInfo, guests, joined, recovery_command
from labkit.core.errors import (
    N_,
    AccessDenied,
    BrokerUnreachable,
    ClusterError,
    ClusterNotRunning,
    LabkitError,
)

if TYPE_CHECKING:  # imported when first used, while a cluster's own processes are already starting
    from collections.abc import Callable

    from labkit.client.client import Client
    from labkit.cluster.autoscaling import Autoscaling
    from labkit.cluster.history_file import EventFile
    from labkit.core.autoscaler import Decision, Limits
    from labkit.core.history import Event, History
    from labkit.panel import Panel
    from labkit.security.credentials import Credentials

NOTE_S = 1.0
"""Patience with a broker that is to note a fault."""
ASK_S = 2.0
CONNECT_S = 0.5
"""How long one attempt to reach a starting broker takes; between two of them the processes are looked at."""
POLL_S = 0.01
MANY_SHORT_LIVES = 3
"""A process that ended this often within seconds of its start is not going to be ready."""
BROKER_DOWN_S = 3.0
"""A broker that somebody froze or stopped this long ago, and has not brought back, is not waited for."""
UP = ("running", "restarting")


class Cluster(ABC):
    """A running cluster. Use it with ``with``, or call ``close``; both may be done from any thread."""

    backend = ""
    """local or compose."""

    def __init__(
        self, name: str, folder: Path, address: str, event_address: str, redis_url: str | None,
        credentials: Credentials,
    ) -> None:  # fmt: skip
        self.name = name
        self.folder = folder
        """The run folder: events.jsonl, logs/."""
        self.address = address
        """Where clients reach the broker: tcp://127.0.0.1:5555."""
        self.event_address = event_address
        """Where the broker publishes its history."""
        self.redis_url = redis_url
        """Where the mirror is, or None: the mirror is off."""
        self.credentials = credentials
        """How a client of this cluster proves who it is."""
        self.ports: Mapping[str, int] = {}
        """By name: client, event, redis, and what else the backend publishes."""
        self.policy = ""
        """Who gets the next task: least_busy, round_robin ...; empty if that is not known."""
        self.cleaned_up: list[str] = []
        """Processes of a crashed predecessor that were still there and have been ended."""
        self._lock = threading.Lock()  # for what follows
        self._own_client: Client | None = None
        self._clients: WeakSet[Client] = WeakSet()
        self._events: EventFile | None = None
        self._panel: Panel | None = None
        self._let_go = False

    # --- what a backend does --------------------------------------------------------------------------------

    @abstractmethod
    def _backend_status(self) -> dict[str, Any]:
        """Return ``{"processes": [...], ...}``: per process name, kind (worker, broker, redis), state, pid,
        restarts, short_lives, last_exit, restart_in_s; and what else the backend has to say."""

    @abstractmethod
    def _backend_check(self, fault: str, name: str) -> str:
        """Raise InvalidInput for an unknown name, ClusterError if the fault does not apply to it now.
        Return the state of the broker's process."""

    @abstractmethod
    def _backend_act(self, fault: str, name: str, recorded: bool) -> None:
        """Do it; ``recorded`` tells whether the history knows."""

    @abstractmethod
    def scale(self, n: int) -> list[str]:
        """Have ``n`` workers and return their names: the next numbers are started, or the highest drained.

        Returns at once; ``wait_until_ready`` waits for the new ones. A worker that was killed or stopped
        still counts, and stays down.
        """

    @abstractmethod
    def logs(self, worker: str | None = None, lines: int = 50) -> str:
        """Return the last ``lines`` lines of one process's output, or of everybody's, each with its name.

        ``worker`` may also be broker, redis or supervisor. Raises InvalidInput for an unknown name.
        """

    @abstractmethod
    def down(self) -> None:
        """End the cluster, whoever started it: no process is left when this returns."""

    @abstractmethod
    def _owns_cluster(self) -> bool:
        """Whether ``close`` ends the cluster, because this object alone has it."""

    def autoscale(
        self, limits: Limits | None = None, on_decision: Callable[[Decision], None] | None = None
    ) -> Autoscaling:
        """Let the number of workers follow the work from now on, until what this returns is closed.

        ``limits``: how few, how many, how quickly (default: 1 to 8 workers, 5 s). ``on_decision`` is called
        after every step, in another thread.
        """
        from labkit.cluster.autoscaling import Autoscaling
        from labkit.core.autoscaler import Limits

        return Autoscaling(self, limits or Limits(), on_decision)

    # --- faults ---------------------------------------------------------------------------------------------

    def kill(self, name: str) -> float:
        """Kill a worker (or "broker", "redis") with SIGKILL: dead when this returns, until ``start``."""
        return self._fault("kill", name)

    def stop(self, name: str) -> float:
        """Stop a worker politely: it drains, for 10 s at most. It is down when this returns, and stays so."""
        return self._fault("stop", name)

    def start(self, name: str) -> float:
        """Start what was killed or stopped. ``wait_until_ready`` waits for it."""
        return self._fault("start", name)

    def pause(self, name: str) -> float:
        """Freeze a process (SIGSTOP): it keeps its connections and its work, and does nothing."""
        return self._fault("pause", name)

    def resume(self, name: str) -> float:
        """Let a frozen process go on."""
        return self._fault("resume", name)

    def _fault(self, fault: str, name: str) -> float:
        broker = self._backend_check(fault, name)
        recorded = broker == "running" and self._note(fault, name)
        noted_at = time.monotonic()
        self._backend_act(fault, name, recorded)
        return noted_at

    def _note(self, fault: str, target: str) -> bool:
        """Have the fault written into the history; return whether that worked within ``NOTE_S``."""
        deadline = time.monotonic() + NOTE_S
        events = self._events_from_now_on() if target == "broker" else None
        try:
            self._client_of_ours(NOTE_S).note(fault, target, NOTE_S)
        except BrokerUnreachable:
            return False
        if events is not None:
            # It is its own witness: what it has promised to write must be on the disk before it dies.
            wait_for_fault(events, fault, target, deadline)
        return True

    def _events_from_now_on(self) -> EventFile:
        """Return a reader of what happens after this moment."""
        events = self.event_file()
        events.skip()
        return events

    # --- looking --------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return everything about the cluster, ready for JSON.

        ``processes`` and ``unrecorded_faults`` come from the backend; ``broker`` is the broker's own picture,
        or None with the reason in ``broker_error``; ``workers`` joins both (``WorkerInfo`` as dicts), and
        ``guests`` are workers that joined from elsewhere. No password is in it.
        """
        from labkit.mirror.url import without_password

        told = self._backend_status()
        picture, error = self._picture(told["processes"])
        redis_url = None if self.redis_url is None else without_password(self.redis_url)
        return {
            "cluster": self.name, "backend": self.backend, "folder": str(self.folder),
            "address": self.address, "event_address": self.event_address, "redis_url": redis_url, **told,
            "workers": [asdict(worker) for worker in joined(told["processes"], picture)],
            "guests": [asdict(worker) for worker in guests(told["processes"], picture)],
            "broker": picture, "broker_error": error,
        }  # fmt: skip

    def workers(self) -> list[WorkerInfo]:
        """Return the cluster's workers, in the order of their numbers, those that are down included."""
        rows = self._backend_status()["processes"]
        return joined(rows, self._picture(rows)[0])

    def _picture(self, rows: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
        """The broker's picture of the cluster, or None and why not."""
        state = next((row["state"] for row in rows if row["kind"] == "broker"), "absent")
        if state != "running":
            return None, f"the broker is {state}"
        try:
            return self._client_of_ours(ASK_S).status(ASK_S), None
        except LabkitError as error:
            return None, str(error)

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the broker reports every worker that should be up as ready, each by its present process.

        Raises ClusterError when that takes longer than ``timeout_s``, or earlier if a process keeps ending;
        BrokerUnreachable if the broker is down by command, or frozen, and nobody brings it back.
        """
        deadline = time.monotonic() + timeout_s
        may_be_down_until: float | None = None
        while True:
            rows = self._backend_status()["processes"]
            for row in rows:
                if row["state"] in UP and row["short_lives"] >= MANY_SHORT_LIVES:
                    raise self._why_not_ready(row)
            wanted = [row for row in rows if row["kind"] == "worker" and row["state"] in UP]
            picture = self._first_picture(deadline) if _runs(rows, "broker") else None
            if picture is not None and all(self._is_ready(row, picture) for row in wanted):
                return
            now = time.monotonic()
            if (is_down := self._down_by_command(rows)) is None:
                may_be_down_until = None
            elif may_be_down_until is None:
                may_be_down_until = now + BROKER_DOWN_S
            elif now > may_be_down_until:
                raise is_down
            if now > deadline:
                raise is_down or self._not_in_time(wanted, picture, timeout_s)
            time.sleep(POLL_S)

    def _not_in_time(
        self, wanted: list[dict[str, Any]], picture: dict[str, Any] | None, timeout_s: float
    ) -> ClusterError:
        if picture is None:
            return ClusterError(
                N_("the broker did not answer within {seconds:g} s; python -m labkit logs broker shows why"),
                seconds=timeout_s,
            )
        return ClusterError(
            N_("{ready} of {wanted} workers were ready after {seconds:g} s; python -m labkit logs shows why"),
            ready=sum(self._is_ready(row, picture) for row in wanted),
            wanted=len(wanted), seconds=timeout_s,
        )  # fmt: skip

    def _first_picture(self, deadline: float) -> dict[str, Any] | None:
        """What the broker says now, or None if it does not serve yet. (Denied: another's serves there.)"""
        patience_s = max(0.05, min(CONNECT_S, deadline - time.monotonic()))
        try:
            return self._client_of_ours(patience_s).status(patience_s)
        except (BrokerUnreachable, AccessDenied):
            return None

    def _is_ready(self, row: dict[str, Any], picture: dict[str, Any]) -> bool:
        """Whether the broker knows this very process, and not its predecessor of the same name."""
        return any(
            known["id"] == row["name"] and known["pid"] == row["pid"] and known["status"] in ("ready", "busy")
            for known in picture["workers"]
        )

    def _why_not_ready(self, row: dict[str, Any]) -> ClusterError:
        announced = STARTED.format(name=row["name"])  # perhaps it has just been started once more
        lines = self.logs(row["name"], 20).splitlines()
        last = [line for line in lines if line.strip() and not line.startswith(announced)]
        return ClusterError(
            N_("{name} keeps ending ({last_exit}): {line}"),
            name=row["name"], last_exit=row["last_exit"],
            line=last[-1].strip() if last else "it printed nothing",
        )  # fmt: skip

    def history(self) -> History:
        """Return what has happened, up to some 30 ms ago: the broker writes in batches.

        It is one and the same object, brought up to date by each call.
        """
        with self._lock:
            if self._events is None:
                self._events = self.event_file()
            return self._events.history()

    def event_file(self) -> EventFile:
        """Return a reader of the history of one's own, at its beginning: for a thread that follows it."""
        from labkit.cluster.history_file import EventFile

        return EventFile(self.folder / "events.jsonl")

    def panel(self, *, live: bool | None = None, work: bool = False) -> Panel:
        """Return a control panel to be shown as a notebook cell's value: a card per worker with buttons, a
        slider for how many, throughput, and the log. See ``labkit.panel``.

        ``live``: whether there is a frontend that shows widgets; None looks whether JupyterLab started this
        kernel, and without it the panel is a picture of the moment. ``work``: begin with a steady stream of
        small tasks. A cluster has one panel: the one before it is closed, and ``close`` closes the last.
        """
        from labkit.panel import Panel

        former, self._panel = self._panel, Panel(self, live=live, work=work)
        if former is not None:
            former.close(N_("There is a newer panel of this cluster."))
        return self._panel

    def keep_history(self) -> Path | None:
        """See that the history outlives the cluster; return its file, or None if it cannot be had."""
        return self.folder / "events.jsonl"

    def lab_url(self) -> str | None:
        """Return where JupyterLab is, with its token, if the backend has one."""
        return None

    # --- talking to the broker ------------------------------------------------------------------------------

    def client(self, name: str = "", connect_timeout_s: float = 5.0) -> Client:
        """Return a new client of this cluster, which is the caller's to close.

        If the cluster is ours to end and ends first, it closes the client: what is open then can have no
        other outcome than ClientGone, and nobody is to wait an hour to hear it.
        """
        from labkit.client.client import Client

        try:
            client = Client(self.address, self.credentials, name=name, connect_timeout_s=connect_timeout_s)
        except BrokerUnreachable as error:
            raise self._why_unreachable(error) from error
        self._clients.add(client)
        return client

    def _why_unreachable(self, error: BrokerUnreachable) -> BrokerUnreachable:
        """Return the error with the step that helps, where the supervisor knows of one."""
        try:
            return self._down_by_command(self._backend_status()["processes"]) or error
        except ClusterError:
            return error  # there is no supervisor to ask either

    def _down_by_command(self, rows: list[dict[str, Any]]) -> BrokerUnreachable | None:
        """Return the error of a broker that waits for a command, which it names; None if it does not."""
        command = recovery_command(rows, "broker")
        if command and self._owns_cluster():  # no command line reaches a private cluster
            return BrokerUnreachable(
                N_("the broker is down or frozen; cluster.{command}('broker') brings it back, or the panel"),
                command=command,
            )
        if command == "resume":
            return BrokerUnreachable(N_("the broker is frozen; python -m labkit resume broker"))
        if command == "start":
            return BrokerUnreachable(N_("the broker is down; python -m labkit start broker"))
        return None

    def _client_of_ours(self, timeout_s: float) -> Client:
        with self._lock:
            if self._let_go:  # a thread that comes late must not begin anew
                raise ClusterNotRunning(N_("this handle on the cluster is closed; open a new one"))
            if self._own_client is None:
                self._own_client = self.client("cluster", timeout_s)
            return self._own_client

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the cluster; one that ``open_cluster`` made ends, and nothing of it is left."""
        panel, self._panel = self._panel, None
        if panel is not None:
            panel.close(N_("The cluster of this panel has been closed."))
        with self._lock:
            self._let_go = True
            client, self._own_client = self._own_client, None
        try:
            if client is not None:
                client.close()
        finally:
            if self._owns_cluster():
                for client in list(self._clients):
                    client.close()
                self.down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def wait_for_fault(events: EventFile, fault: str, target: str, until: float) -> Event | None:
    """Return the event that tells of this fault when it is in the file; None if it is not by then."""
    from labkit.core.history import FAULT

    while True:
        for event in events.read():
            told = event.detail
            if event.kind == FAULT and (told.get("fault"), told.get("target")) == (fault, target):
                return event
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_S)


def _runs(rows: list[dict[str, Any]], kind: str) -> bool:
    return any(row["kind"] == kind and row["state"] == "running" for row in rows)
