"""``Cluster``: the one interface of every cluster, whatever its processes run in.

A ``Backend`` (``labkit.cluster.backend``) lists, signals and logs the processes. Here is what is the same
everywhere: a fault is recorded in the history before it takes effect, the broker reports its own status, the
history is read from the run folder.

How a fault command works::

    check (is the name known? does it apply now?)  →  record it through the broker  →  carry it out
                                                      within 1 s; if the broker cannot,
                                                      the status counts it as unrecorded

Every fault command returns the instant at which it was recorded, on the broker's clock, so recovery times are
measured from there. On one machine that clock is ``time.monotonic()``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast
from weakref import WeakSet

from labkit.cluster.api_side import link_for_others
from labkit.cluster.backend import Backend
from labkit.cluster.processes import API, RUNNING, ProcessRow
from labkit.cluster.readiness import down_by_command, wait_for_api, wait_until_ready
from labkit.cluster.status import (
    BrokerStatus,
    ClusterStatus,
    WorkerInfo,
    WorkerRow,
    guests,
    joined,
)
from labkit.core.errors import (
    N_,
    AccessDenied,
    BrokerUnreachable,
    ClientFailed,
    ClusterError,
    ClusterNotRunning,
    LabkitError,
    TooManyOpenFiles,
)

if TYPE_CHECKING:  # imported when first used, while a cluster's own processes are already starting
    from collections.abc import Callable

    from labkit.client.client import Client
    from labkit.cluster.autoscaling import Autoscaling
    from labkit.cluster.history_file import EventFile
    from labkit.core.autoscaler import Decision, Limits
    from labkit.core.history import Event, History
    from labkit.panel import Panel

NOTE_S = 1.0
"""How long the broker may take to record a fault."""
ASK_S = 2.0
CONNECT_S = 0.5
"""How long one attempt to reach a starting broker takes; the processes are checked between attempts."""
POLL_S = 0.01


class Cluster:
    """A running cluster. Use it with ``with``, or call ``close``; both may be done from any thread."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend.kind
        """local or compose."""
        self.name = backend.endpoints.name
        self.credentials = backend.endpoints.credentials
        """How a client of this cluster authenticates."""
        self.policy = backend.endpoints.policy
        """The placement policy: least_busy, round_robin ...; empty if it is not known."""
        self.cleaned_up: list[str] = []
        """Processes of a crashed predecessor that were still alive and have been ended."""
        self.without_api: LabkitError | None = None
        """Why a cluster that was to have an HTTP side was started without one."""
        self._backend = backend
        self._pid = os.getpid()
        self._lock = threading.Lock()  # for what follows
        self._own_client: Client | None = None
        self._clients: WeakSet[Client] = WeakSet()
        self._events: EventFile | None = None
        self._panel: Panel | None = None
        self._is_closed = False

    # A broker in a container that was made anew may be published elsewhere: these four may change.

    @property
    def address(self) -> str:
        """Where clients reach the broker: tcp://127.0.0.1:5555."""
        return self._backend.endpoints.address

    @property
    def event_address(self) -> str:
        """Where the broker publishes its history."""
        return self._backend.endpoints.event_address

    @property
    def redis_url(self) -> str | None:
        """Where the mirror is; None: the mirror is off."""
        return self._backend.endpoints.redis_url

    @property
    def ports(self) -> Mapping[str, int]:
        """By name: client, event, redis, and what else the backend publishes."""
        return self._backend.endpoints.ports

    @property
    def api_url(self) -> str | None:
        """Where the cluster's HTTP side listens: http://localhost:8000; None: it has none."""
        port = self.ports.get(API)
        return None if port is None else f"http://localhost:{port}"

    def api_link_for_others(self) -> str | None:
        """Return the dashboard's address for other machines, with the token; None: they cannot reach it.

        Browsers do not send what stands after the # to a server.
        """
        port = self.ports.get(API)
        if port is None or not self._backend.endpoints.api_is_open:
            return None
        return link_for_others(port, self.api_token())

    @property
    def folder(self) -> Path:
        """The run folder: events.jsonl, logs/."""
        return self._backend.folder

    # --- size -----------------------------------------------------------------------------------------------

    def scale(self, n: int) -> list[str]:
        """Have ``n`` workers and return their names: the next numbers are started, or the highest drained.

        Returns at once; ``wait_until_ready`` waits for the new ones. A worker that was killed or stopped
        still counts, and stays down.
        """
        return self._backend.scale(n)

    def autoscale(
        self, limits: Limits | None = None, on_decision: Callable[[Decision], None] | None = None
    ) -> Autoscaling:
        """Return an autoscaler that adapts the number of workers to the work until it is closed.

        ``limits``: how few, how many, how quickly (default: 1 to 8 workers, 5 s). ``on_decision`` is called
        after every step, in another thread.
        """
        from labkit.cluster.autoscaling import Autoscaling
        from labkit.core.autoscaler import Limits

        return Autoscaling(self, limits or Limits(), on_decision)

    # --- faults ---------------------------------------------------------------------------------------------

    def kill(self, name: str) -> float:
        """Kill a process ("worker-1", "broker" ...) with SIGKILL: dead when this returns, until ``start``."""
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
        """Let a frozen process continue."""
        return self._fault("resume", name)

    def _fault(self, fault: str, name: str) -> float:
        events = None if self._backend.shares_clock else self._events_from_now_on()
        broker = self._backend.check(fault, name)
        recorded = broker == RUNNING and self._record(fault, name)
        recorded_at = time.monotonic()
        self._backend.act(fault, name, recorded)
        if events is not None and recorded:  # the broker's clock is another one: take the instant from there
            event = _wait_for_fault(events, fault, name, time.monotonic() + NOTE_S)
            return recorded_at if event is None else event.at
        return recorded_at

    def _record(self, fault: str, target: str) -> bool:
        """Have the broker record the fault in the history; return whether it did within ``NOTE_S``."""
        deadline = time.monotonic() + NOTE_S
        events = self._events_from_now_on() if target == "broker" else None
        try:
            self._client_of_ours(NOTE_S).note(fault, target, NOTE_S)
        except BrokerUnreachable:
            return False
        if events is not None:
            # The broker is about to die: wait until the event that it promised to write is on the disk.
            _wait_for_fault(events, fault, target, deadline)
        return True

    def _events_from_now_on(self) -> EventFile:
        """Return a reader of what happens after this moment."""
        events = self.event_file()
        events.skip()
        return events

    # --- looking --------------------------------------------------------------------------------------------

    def status(self) -> ClusterStatus:
        """Return everything about the cluster, ready for JSON.

        ``processes`` and ``unrecorded_faults`` come from the backend; ``broker`` is the broker's own status,
        or None with the reason in ``broker_error``; ``workers`` joins both (``WorkerInfo`` as dicts), and
        ``guests`` are workers that joined from elsewhere. It contains no password.
        """
        from labkit.mirror.url import without_password

        status = self._backend.status()
        rows = status["processes"]
        snapshot, error = self._broker_status(rows)
        return {
            "cluster": self.name,
            "backend": self.backend,
            "folder": str(self.folder),
            "address": self.address,
            "event_address": self.event_address,
            "redis_url": None if self.redis_url is None else without_password(self.redis_url),
            "api_url": self.api_url,
            **status,
            "workers": [_as_row(worker) for worker in joined(rows, snapshot)],
            "guests": [_as_row(worker) for worker in guests(rows, snapshot)],
            "broker": snapshot,
            "broker_error": error,
        }

    def workers(self) -> list[WorkerInfo]:
        """Return the cluster's workers, in the order of their numbers, those that are down included."""
        rows = self._backend.status()["processes"]
        return joined(rows, self._broker_status(rows)[0])

    def _broker_status(self, rows: Sequence[ProcessRow]) -> tuple[BrokerStatus | None, str | None]:
        """Return the broker's own status, or None and why there is none."""
        state = next((row["state"] for row in rows if row["kind"] == "broker"), "absent")
        if state != RUNNING:
            return None, f"the broker is {state}"
        try:
            return self._client_of_ours(ASK_S).status(ASK_S), None
        except (TooManyOpenFiles, ClientFailed):
            raise  # that is not the broker's fault
        except LabkitError as error:
            return None, str(error)

    def logs(self, worker: str | None = None, lines: int = 50) -> str:
        """Return the last ``lines`` lines of one process's output, or of each process's, with its name.

        ``worker`` may also be broker, redis, api or supervisor. Raises InvalidInput for an unknown name.
        """
        return self._backend.logs(worker, lines)

    def history(self) -> History:
        """Return what has happened, up to some 30 ms ago: the broker writes in batches.

        Each call returns the same object, brought up to date.
        """
        with self._lock:
            if self._events is None:
                self._events = self.event_file()
            return self._events.history()

    def event_file(self) -> EventFile:
        """Return a new reader of the history, at its beginning: for a thread that follows it."""
        from labkit.cluster.history_file import EventFile

        return EventFile(self._backend.events_file())

    def panel(self, *, live: bool | None = None, work: bool = False) -> Panel:
        """Return a control panel to be shown as a notebook cell's value: a card per worker with buttons, a
        slider for how many, throughput, and the log. See ``labkit.panel``.

        ``live``: whether there is a frontend that shows widgets; None finds out whether JupyterLab started
        this kernel. Without one the panel is a picture of the moment. ``work``: begin with a steady stream of
        small tasks. A cluster has one panel: the one before it is closed, and ``close`` closes the last.
        """
        from labkit.panel import Panel

        former, self._panel = self._panel, Panel(self, live=live, work=work)
        if former is not None:
            self._panel.replace(former, N_("There is a newer panel of this cluster."))
        return self._panel

    def keep_history(self) -> Path | None:
        """Make the history outlive the cluster; return its file, or None if there is no history to keep."""
        return self._backend.keep_history()

    def lab_url(self) -> str | None:
        """Return where JupyterLab is, with its token; None if the backend has none."""
        return self._backend.lab_url()

    def api_token(self) -> str:
        """Return the token with which the HTTP side lets a caller change something.

        Raises ClusterError if it cannot be read.
        """
        return self._backend.api_token()

    def wait_for_api(self, timeout_s: float = 15.0) -> None:
        """Wait until the HTTP side answers; return at once if the cluster has none.

        Raises ClusterError when that takes longer than ``timeout_s``, or earlier if its process is down.
        """
        if (port := self.ports.get(API)) is not None:
            wait_for_api(self._backend, port, timeout_s)

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the broker reports every worker that should be up as ready, each by its present process.

        Raises ClusterError when that takes longer than ``timeout_s``, or earlier if a process keeps ending;
        BrokerUnreachable if a command stopped or froze the broker and no command brings it back.
        """
        wait_until_ready(self._backend, self._first_broker_status, timeout_s)

    def _first_broker_status(self, deadline: float) -> BrokerStatus | None:
        """Return the broker's status, or None if it does not serve yet.

        AccessDenied means that another cluster's broker has the port.
        """
        patience_s = max(0.05, min(CONNECT_S, deadline - time.monotonic()))
        try:
            return self._client_of_ours(patience_s).status(patience_s)
        except (BrokerUnreachable, AccessDenied):
            return None

    # --- talking to the broker ------------------------------------------------------------------------------

    def client(self, name: str = "", connect_timeout_s: float = 5.0) -> Client:
        """Return a new client of this cluster; the caller closes it.

        A private cluster closes its clients when it ends. The only outcome that is left for their open tasks
        is ClientGone, so they report it right away instead of waiting for a broker that does not come back.
        """
        from labkit.client.client import Client

        try:
            client = Client(
                self.address,
                self.credentials,
                name=name,
                connect_timeout_s=connect_timeout_s,
                find_broker=self._backend.find_broker if self._backend.kind == "compose" else None,
            )
        except BrokerUnreachable as error:
            raise self._why_unreachable(error) from error
        self._clients.add(client)
        return client

    def _why_unreachable(self, error: BrokerUnreachable) -> BrokerUnreachable:
        """Return an error that names the step that helps, where the backend knows one."""
        try:
            return down_by_command(self._backend, self._backend.status()["processes"]) or error
        except ClusterError:
            return error  # the backend does not answer either

    def _client_of_ours(self, timeout_s: float) -> Client:
        with self._lock:
            if self._is_closed:  # another thread may come after ``close``
                raise ClusterNotRunning(N_("this handle on the cluster is closed; open a new one"))
            if self._own_client is None or self._own_client.has_failed:
                self._own_client = self.client("cluster", timeout_s)
            return self._own_client

    # --- the end --------------------------------------------------------------------------------------------

    def down(self) -> None:
        """End the cluster, no matter who started it: no process is left when this returns. It may be down.

        The handle's own connection ends, too: a client that is left open asks for its broker for ever.
        """
        self._close_own_client()  # first: the broker hears the goodbye
        try:
            self._backend.down()
        finally:
            self._close_own_client()  # another thread may have asked for the status meanwhile

    def close(self) -> None:
        """Close this handle. A cluster that ``open_cluster`` made ends, and nothing of it is left."""
        if self._pid != os.getpid():
            return  # a forked child has a copy of this object, and must not end what it shares
        panel, self._panel = self._panel, None
        if panel is not None:
            panel.close(N_("The cluster of this panel has been closed."))
        with self._lock:
            self._is_closed = True
        try:
            self._close_own_client()
        finally:
            try:
                if self._backend.is_private:
                    for client in list(self._clients):
                        client.close()
                    self.down()
            finally:
                self._backend.close()

    def _close_own_client(self) -> None:
        with self._lock:
            client, self._own_client = self._own_client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _wait_for_fault(events: EventFile, fault: str, target: str, until: float) -> Event | None:
    """Return the event of this fault when it is in the file; None if it is not there in time."""
    from labkit.core.history import FAULT

    while True:
        for event in events.read():
            detail = event.detail
            if event.kind == FAULT and (detail.get("fault"), detail.get("target")) == (fault, target):
                return event
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_S)


def _as_row(worker: WorkerInfo) -> WorkerRow:
    return cast(WorkerRow, asdict(worker))
