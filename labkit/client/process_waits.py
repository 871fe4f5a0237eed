"""Tells the broker when a worker's process only waits for tasks that it has submitted itself.

``Client.wait_inside`` reports a task that waits by ``result``, and ``labkit.client.nested_waits`` one that
waits by ``wait`` or ``as_completed``: there the client knows what the task waits for. This module finds all
other ways to wait: asyncio, a callback that sets an event, a thread that waits for another thread.

A watching thread looks at all threads of the process (``labkit.client.thread_states``) while a task runs
here and a client of this process has open tasks. ``labkit.core.peers.quiet_process`` decides what to report.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from labkit.client.thread_states import thread_states
from labkit.core.peers.client_events import WaitsNow
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.protocol.rules import Rules
from labkit.support import current_task

log = logging.getLogger(__name__)

MOST = 1024
"""A process that waits for more tasks than this reports nothing."""


class Reporter(Protocol):
    """What is needed of a client (``labkit.client.client.Client``)."""

    @property
    def broker_epoch(self) -> bytes:
        """Which broker it talks to."""

    @property
    def open_tasks(self) -> int:
        """How many tasks have no outcome yet."""

    def awaited_tasks(self, blocking: Collection[bytes]) -> list[bytes]:
        """Return its open tasks among ``blocking``, or with callbacks or threads that wait for several."""

    def report(self, waits: WaitsNow) -> None:
        """Send this to the broker."""


_lock = threading.RLock()
_clients: set[Reporter] = set()
_blocked: dict[int, tuple[bytes, ...] | None] = {}  # by thread: what it waits for; None: not for long
_told: dict[bytes, Reporter] = {}  # tasks whose waits are told by themselves, and by which client
_watches = False


def tell(client: Reporter, waits: WaitsNow) -> None:
    """Report what one task waits for, as its own thread knows it; with no tasks, that it waits no longer."""
    with _lock:
        if waits.awaited:
            _told[waits.task] = client
        else:
            _told.pop(waits.task, None)
        client.report(waits)


@contextmanager
def blocked(awaited: tuple[bytes, ...], ends_at: float | None) -> Iterator[None]:
    """Note that the calling thread waits until one of these tasks has an outcome."""
    me = threading.get_ident()
    lease_s = max((task.lease_s for task in current_task.running().values()), default=0.0)
    is_endless = ends_at is None or ends_at >= time.monotonic() + lease_s
    outer = _blocked.get(me, ())
    _blocked[me] = awaited if is_endless else None
    try:
        yield
    finally:
        if outer == ():
            del _blocked[me]
        else:
            _blocked[me] = outer


def watch(client: Reporter, rules: Rules) -> None:
    """Look at this process from now on, as long as it runs a task and this client has open tasks."""
    global _watches
    with _lock:
        _clients.add(client)
        if _watches:
            return
        _watches = True
    try:
        threading.Thread(target=_watch, args=(rules,), name="labkit-waits", daemon=True).start()
    except RuntimeError as error:  # no more threads are allowed: such a wait ends by its lease
        log.warning("cannot watch for tasks that wait for each other: %s", error)
        with _lock:
            _watches = False


def _watch(rules: Rules) -> None:
    process = _Process(rules)
    pause = threading.Event()
    while _is_needed():
        process.look(time.monotonic())
        pause.wait(rules.heartbeat_s / 2)
    process.look(time.monotonic())  # withdraws what it has reported


def _is_needed() -> bool:
    global _watches
    with _lock:
        idle = [client for client in _clients if not client.open_tasks]
        _clients.difference_update(idle if current_task.is_in_worker() else list(_clients))
        _watches = bool(_clients)
        return _watches


class _Process:
    """What the watching thread knows of its process."""

    def __init__(self, rules: Rules) -> None:
        self._quiet = QuietProcess(rules)
        self._reporter: Reporter | None = None

    def look(self, now: float) -> None:
        """Look at all threads once, and report what has changed."""
        running = current_task.running()
        lease_s = max((task.lease_s for task in running.values()), default=0.0)
        blocking = dict(_blocked)
        states = thread_states(running, blocking, lease_s)
        with _lock:
            clients, awaited = _awaited({task for tasks in blocking.values() for task in tasks or ()})
            if self._reporter not in clients:
                if self._reporter is not None:
                    awaited = ()  # it withdraws its reports, and another client reports after the next look
                else:
                    self._reporter = clients[0] if clients else None
            tasks = frozenset(
                (task.task, task.attempt) for task in running.values() if task.task not in _told
            )
            reporter = self._reporter
            if reporter is None:
                return
            for waits in self._quiet.look(states, tasks, awaited, now):
                if waits.awaited or _told.get(waits.task) is not reporter:
                    reporter.report(waits)
            if reporter not in clients:
                self._reporter = None


def _awaited(blocking: set[bytes]) -> tuple[list[Reporter], tuple[bytes, ...]]:
    """Return the clients with awaited tasks, and these; none if their broker is not the same."""
    found = {client: client.awaited_tasks(blocking) for client in _clients}
    clients = [client for client, tasks in found.items() if tasks]
    awaited = tuple(sorted(task for tasks in found.values() for task in tasks))
    if len({client.broker_epoch for client in clients}) != 1 or len(awaited) > MOST:
        return [], ()
    return clients, awaited
