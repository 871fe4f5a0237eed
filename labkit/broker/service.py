"""The broker: two ROUTER sockets round a Scheduler, in one loop and one thread.

A turn of the loop::

    wait until something arrives or is due
      → read workers, then clients (bounded)     → the scheduler handles each message
      → connections that closed                   → the scheduler learns of them after their last messages
      → Tick                                      → liveness, deadlines, dispatch
      → send everything, one envelope a peer      → observers get the turn's transitions

``labkit.core.broker.scheduler`` decides what a task is, where it goes and which peers are dead; this file
contains no ``if`` about a task. Observers (the recorder, the Redis mirror) are passed in by the caller that
starts the broker; none of them can delay the loop.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import zmq

from labkit.broker import memory
from labkit.broker.authenticator import CLIENT_DOMAIN, WORKER_DOMAIN, Authenticator
from labkit.broker.connections import port_in_use
from labkit.broker.endpoint import Endpoint
from labkit.broker.recorder import Recorder
from labkit.core import history as h
from labkit.core.broker.inputs import (
    Action,
    ClientClosed,
    FromClient,
    FromWorker,
    Tick,
    ToClient,
    WorkerClosed,
)
from labkit.core.broker.policies import Policy
from labkit.core.broker.scheduler import Scheduler
from labkit.core.broker.snapshot import Snapshot
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Token, check_host
from labkit.security.key_store import CLIENT, WORKER, KeyFolder
from labkit.support import descriptors
from labkit.support.signals import stop_signals
from labkit.support.waker import Waker
from labkit.transport import unix_socket
from labkit.transport.poller import Poller, Socket
from labkit.transport.sockets import new_context

log = logging.getLogger(__name__)

TURN_BUDGET = 200
"""Messages read from each socket in one turn: without a bound, a flood would starve the timers."""
MAX_DEFERRED_TURNS = 20
"""For how many turns a closed connection may wait until the socket has been read empty."""
RETRY_S = 0.005
GC_THRESHOLD = 50_000
DESCRIPTORS = 48
"""As many as a broker opens before its first peer connects, and some for peers."""
RECORD_EVERY_S = 0.02
RECORD_AT = 4_000
SWITCH_INTERVAL_S = 0.0005
"""The recorder's and the mirror's threads yield to the loop after this time (Python's default: 5 ms)."""


class Health(Protocol):
    """The state of an observer, as a word."""

    @property
    def state(self) -> str:
        """Return ``ok``, or what is wrong."""


class SnapshotObserver(Protocol):
    """Shows the broker's state elsewhere, such as ``labkit.mirror.writer.Mirror``."""

    def wants(self, now: float, changed: bool = True) -> bool:
        """Return whether a snapshot is due."""

    def offer(self, snapshot: Snapshot) -> None:
        """Accept a snapshot and return at once."""

    @property
    def health(self) -> Health:
        """Return whether the observer works."""


class Broker:
    """A broker that is bound to its ports and ready to ``run``."""

    def __init__(
        self,
        *,
        host: str,
        client_port: int,
        worker_port: int,
        event_port: int,
        known: Token | KeyFolder,
        rules: Rules,
        policy: str | Policy = "least_busy",
        recorder_path: Path | None = None,
        mirror: SnapshotObserver | None = None,
    ) -> None:
        check_host(host, known)
        self.epoch = os.urandom(8)
        self.scheduler = Scheduler(rules, self.epoch, time.monotonic(), policy, self._may_use_worker_id)
        self._rules = rules
        self._mirror = mirror
        self._keys_changed = False
        with descriptors.named(), ExitStack() as undo:
            self._context = new_context(DESCRIPTORS)
            undo.callback(self._context.term)
            self._waker = Waker()
            undo.callback(self._waker.close)
            self._poller = Poller()
            undo.callback(self._poller.close)
            self.authenticator = Authenticator(self._context, known, self._on_keys_changed)
            undo.callback(self.authenticator.close)
            self.authenticator.start()
            self._clients = self._endpoint(CLIENT_DOMAIN, host, client_port, m.FROM_CLIENT)
            undo.callback(self._clients.close)
            self._workers = self._endpoint(WORKER_DOMAIN, host, worker_port, m.FROM_WORKER)
            undo.callback(self._workers.close)
            self._recorder = self._open_recorder(host, event_port, recorder_path)
            undo.pop_all()
        if isinstance(known, Token):
            self._open_unix_sockets(known.secret)
        self._stopping = False
        self._hears_signals = False
        self._pending_events: list[Event] = []
        self._recorded_at = 0.0
        self._snapshot_changed = True
        self._deferred_turns = 0
        self._memory = memory.MemoryGuard(rules.max_unseen_bytes, self)
        policy_name = policy if isinstance(policy, str) else getattr(policy, "__name__", "?")
        wall = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        started = {"epoch": self.epoch.hex(), "wall": wall, "policy": policy_name}
        self._pending_events.append(Event(time.monotonic(), h.BROKER_STARTED, detail=started))

    def _endpoint(self, domain: str, host: str, port: int, allowed: frozenset[type]) -> Endpoint:
        return Endpoint(self.authenticator, domain, host, port, allowed, self._rules, self._count)

    def _open_unix_sockets(self, secret: str) -> None:
        """Also listen on Unix sockets, for peers on this machine."""
        if not unix_socket.is_supported():
            return
        unix_socket.sweep()
        endpoints = (self._clients, self._workers)
        paths = [unix_socket.path_for(endpoint.port, secret) for endpoint in endpoints]
        if not all(
            path is not None and endpoint.listen_also(path)
            for endpoint, path in zip(endpoints, paths, strict=True)
        ):
            log.warning("a Unix socket beside each port is not possible here: peers use the ports")

    def _open_recorder(self, host: str, port: int, path: Path | None) -> Recorder:
        try:
            return Recorder(self.authenticator, f"tcp://{host}:{port}", path)
        except zmq.ZMQError as error:
            raise port_in_use(host, port, error) from error

    def _count(self, what: str) -> None:
        self.scheduler.counters[what] += 1

    def _may_use_worker_id(self, route: Any, worker_id: str) -> bool:
        """Return whether this connection's key may use that worker id; the scheduler asks at each hello."""
        return self.authenticator.may_use_worker_id(self._workers.user(route), worker_id)

    def _on_keys_changed(self) -> None:
        """Note that the list of keys has changed; called in the authenticator's thread."""
        self._keys_changed = True
        self._waker.wake()

    def _disconnect_removed_keys(self) -> None:
        self._keys_changed = False
        self._workers.disconnect_unless(
            lambda route: self.authenticator.admits(WORKER, self._workers.user(route))
        )
        self._clients.disconnect_unless(
            lambda route: self.authenticator.admits(CLIENT, self._clients.user(route))
        )
        self._recorder.reopen()

    def _watch_memory(self, now: float) -> None:
        """Disconnect peers if the process is larger than can be explained (``labkit.broker.memory``)."""
        scheduler = self.scheduler
        explained = (
            scheduler.clients.open_bytes
            + memory.TASK_BYTES * len(scheduler.tasks)
            + scheduler.liveness.announced_bytes()
            + self._clients.held_bytes
            + self._workers.held_bytes
        )
        self._memory.look(explained, now)

    def has_read_all(self) -> bool:
        """Return whether every finished message has been read."""
        return self._workers.has_read_all and self._clients.has_read_all

    def disconnect(self, flooding: bool) -> int:
        """Disconnect the idle peers, and with ``flooding`` the flooding ones; return how many."""
        now, last_heard = time.monotonic(), self.scheduler.liveness.last_heard
        cut = sum(
            each.disconnect_unfinished(last_heard, flooding, now) for each in (self._clients, self._workers)
        )
        cut += self._recorder.disconnect_flooding() if flooding else 0
        if cut:
            log.warning("more memory is in use than can be explained: disconnected %d peers", cut)
        return cut

    def rebind(self) -> bool:
        """Disconnect everyone at each socket with an oversized message; return whether there was one."""
        dropping = [each for each in (self._workers, self._clients) if each.is_dropping]
        for endpoint in dropping:
            log.warning("far too much memory is in use: disconnected everyone at port %d", endpoint.port)
            self._poller.remove(endpoint.socket)
            self._poller.remove(endpoint.monitor)
            endpoint.rebind()
            self._wait_for(endpoint)
        return bool(dropping)

    def _wait_for(self, endpoint: Endpoint) -> None:
        self._poller.add(endpoint.socket)
        self._poller.add(endpoint.monitor, often=False)

    def disconnect_subscribers(self) -> None:
        """Disconnect all subscribers to events."""
        log.warning("more memory is in use than can be explained: disconnected all subscribers")
        self._recorder.reopen()

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler and from any thread."""
        self._stopping = True
        self._waker.wake()

    def stop_on_signals(self) -> None:
        """End the loop on SIGTERM, SIGINT, and Ctrl-Break."""
        for number in stop_signals():
            signal.signal(number, lambda *_: self.stop())
        signal.set_wakeup_fd(self._waker.signal_fd, warn_on_full_buffer=False)
        self._hears_signals = True

    # --- the loop ---

    def run(self) -> None:
        """Serve until ``stop``, then close everything."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        # Reference counts free the loop's objects. With the default threshold of 700 the collector would scan
        # every open task again and again for cycles that do not exist.
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        for endpoint in (self._workers, self._clients):
            self._wait_for(endpoint)
        self._poller.add(self._waker)
        try:
            while True:
                self._waker.arm()
                if self._stopping:
                    break
                ready = self._poller.wait(self._timeout_s())
                self._waker.clear(self._waker in ready)
                self._turn(ready, time.monotonic())
        finally:
            self._poller.close()
            self._finish()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        due = self.scheduler.next_deadline()
        wait_s = math.inf if due is None else due - now
        wait_s = min(wait_s, self._memory.look_at - now)  # nothing reports new subscribers, so always look
        if self._pending_events:
            wait_s = min(wait_s, self._recorded_at + RECORD_EVERY_S - now)
        if self._mirror is not None:
            wait_s = min(wait_s, 0.1 if self._snapshot_changed else 1.0)
        if self._workers.has_closed or self._clients.has_closed:
            return 0.0
        if self._clients.congested or self._workers.congested:
            wait_s = min(wait_s, RETRY_S)
        return wait_s

    def _turn(self, ready: list[Socket | Waker], now: float) -> None:
        """Do one turn: read what is ready, workers first; decide; send."""
        actions: list[Action] = []
        if self._keys_changed:
            self._disconnect_removed_keys()
        workers_empty = clients_empty = True
        if self._workers.socket in ready:
            arrived, workers_empty = self._workers.receive(TURN_BUDGET)
            for route, records in arrived:
                actions += self.scheduler.handle_envelope(FromWorker, route, records, now)
        if self._clients.socket in ready:
            arrived, clients_empty = self._clients.receive(TURN_BUDGET)
            for route, records in arrived:
                actions += self.scheduler.handle_envelope(FromClient, route, records, now)
        for endpoint in (self._workers, self._clients):
            if endpoint.monitor in ready:
                endpoint.read_monitor()
        if now >= self._memory.look_at:
            self._watch_memory(now)
        if self._workers.has_closed or self._clients.has_closed:
            actions += self._closures(workers_empty, clients_empty, now)
        actions += self.scheduler.handle(Tick(), now)
        self._send(actions)
        self._observe(now)

    def _closures(self, workers_empty: bool, clients_empty: bool, now: float) -> list[Action]:
        """Report closed connections to the scheduler, once their last messages have been read."""
        actions: list[Action] = []
        self._deferred_turns += 1
        patience_over = self._deferred_turns > MAX_DEFERRED_TURNS
        if workers_empty or patience_over:
            for route in self._workers.take_closed():
                actions += self.scheduler.handle(WorkerClosed(route), now)
        if clients_empty or patience_over:
            for route in self._clients.take_closed():
                actions += self.scheduler.handle(ClientClosed(route), now)
        if not (self._workers.has_closed or self._clients.has_closed):
            self._deferred_turns = 0  # the next closed connection gets the same patience
        return actions

    def _send(self, actions: list[Action]) -> None:
        if self._workers.congested:
            self._workers.retry()
        if self._clients.congested:
            self._clients.retry()
        to_workers: defaultdict[Any, list[m.Message]] = defaultdict(list)
        to_clients: defaultdict[Any, list[m.Message]] = defaultdict(list)
        for action in actions:
            (to_clients if type(action) is ToClient else to_workers)[action.route].append(action.message)
        for route, messages in to_workers.items():
            self._workers.send(route, messages)
        for route, messages in to_clients.items():
            self._clients.send(route, messages)

    def _observe(self, now: float) -> None:
        events = self.scheduler.take_events()
        if events:
            self._pending_events += events
            self._snapshot_changed = True
        waiting = len(self._pending_events)
        if waiting and (now - self._recorded_at >= RECORD_EVERY_S or waiting > RECORD_AT):
            self._record(now)
        mirror = self._mirror
        if mirror is not None and mirror.wants(now, self._snapshot_changed):
            self._snapshot_changed = False
            mirror.offer(self.scheduler.snapshot(now))
            self.scheduler.facts["mirror"] = mirror.health.state

    def _record(self, now: float) -> None:
        self._recorder.put(self._pending_events)
        self._pending_events = []
        self._recorded_at = now

    # --- the end ---

    def _finish(self) -> None:
        now = time.monotonic()
        self._pending_events += self.scheduler.take_events()
        self._pending_events.append(Event(now, h.BROKER_STOPPED))
        self._record(now)
        self._close()
        if self._hears_signals:
            signal.set_wakeup_fd(-1)
        self._waker.close()

    def _close(self) -> None:
        self._recorder.close()
        for endpoint in (self._clients, self._workers):
            endpoint.close()
        self.authenticator.close()
        self._context.term()
