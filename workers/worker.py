"""The worker: one DEALER round a WorkerSession, led by one thread at a time.

A turn sends the waiting messages, waits for the socket, for the threads that compute, for a signal and for
the session's next deadline, and handles what has arrived. ``labkit.core.peers.worker_session`` decides what
to send. ``workers.leader_followers`` decides which thread takes the turns and which computes: a heartbeat
never comes from a thread that is busy computing, and proves only that the process lives.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from labkit.core.peers.session import Connect, Phase, Send, Tick
from labkit.core.peers.worker_events import Exit, Finished, Raised, Run, StopAsked, Withdraw, Withdrawn
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol import exit_codes
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Credentials
from labkit.support import descriptors
from labkit.support.signals import stop_signals
from labkit.support.waker import Waker
from labkit.transport.connection import RETRY_S, Connection
from labkit.transport.poller import Poller, Socket
from labkit.transport.sockets import WORKER_ROLE, new_context
from workers.balance import Balance
from workers.compute import Compute
from workers.leader_followers import LeaderFollowers
from workers.watchdog import Watchdog

log = logging.getLogger("labkit.worker")

FAREWELL_MS = 1000
TICK_EVERY_S = 0.1
"""How often the session gets a Tick, however much there is to read."""
SHOW_SERVING_EVERY_S = 1.0
LOG_MISSING_AFTER_S = 3.0
"""A restarted broker admits its workers sooner than this; a longer absence goes to the log."""


class Worker:
    """One worker process: ``run`` serves and returns the exit code."""

    def __init__(
        self,
        *,
        address: str,
        credentials: Credentials,
        name: str,
        capabilities: frozenset[str],
        slots: int,
        rules: Rules,
        job_modules: tuple[str, ...],
        serving_file: Path | None = None,
    ) -> None:
        self._address = address
        self._rules = rules
        self._context = new_context()
        self._session = WorkerSession(name, capabilities, slots, os.getpid(), rules, lambda: os.urandom(8))
        self._waker = Waker()  # used by the threads that compute and by signals
        self._compute = Compute(slots, job_modules, rules.max_message_bytes)
        self._threads = LeaderFollowers(slots + 1, self, self._compute)
        self._poller = Poller()
        self._connection = Connection(
            self._context,
            self._poller,
            address,
            WORKER_ROLE,
            credentials,
            m.TO_WORKER,
            rules.max_message_bytes,
        )
        self._exit: Exit | None = None
        self._stop_asked = False
        self._poller.add(self._waker)
        self._ticked_at = 0.0
        self._serving_file = serving_file
        self._shown_serving_at = 0.0
        self._logged_epoch = b""
        self._slots = slots
        self._watchdog = Watchdog()
        self._balance = Balance(name)
        self._last_lease_s = 0.0
        self._asking_since: float | None = None  # and no broker has admitted this worker
        self._logged_missing = False
        self._logged_untouched = False

    def stop_on_signals(self) -> None:
        """Drain on SIGTERM, SIGINT, and Ctrl-Break."""
        for number in stop_signals():
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: Any) -> None:
        self._stop_asked = True
        self._waker.wake()

    def run(self) -> int:
        """Serve until the worker is stopped or refused, or a task outruns its lease; return the exit code."""
        gc.freeze()
        with descriptors.named():
            self._do(self._session.start(time.monotonic()))
        self._threads.serve()
        assert self._exit is not None
        return self._leave(self._exit)

    # --- for the threads
    # ---------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the worker is about to leave."""
        return self._exit is not None

    def turn(self) -> None:
        """Send, wait until something happens, read, and handle it."""
        self._connection.flush()
        self._waker.arm()
        has_news = self._compute.has_news or self._compute.has_work or self._stop_asked
        ready = self._poller.wait(0.0 if has_news else self._timeout_s())
        self._waker.clear(self._waker in ready)
        self._take_in(ready, time.monotonic())

    def report(self, report: Finished | Raised) -> None:
        """Report the outcome of an attempt to the broker at the next turn."""
        self._do(self._session.handle(report, time.monotonic()))

    def wake(self) -> None:
        """Wake the thread that waits in ``turn``."""
        self._waker.wake()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        due = self._session.next_deadline()
        announce_at = self._compute.announce_at()
        if announce_at is not None:
            due = min(due, announce_at)
        if self._connection.congested:
            due = min(due, now + RETRY_S)
        return due - now

    def _take_in(self, ready: list[Socket | Waker], now: float) -> None:
        handle = self._session.handle
        for event in self._compute.collect():
            self._do(handle(event, now))
        for messages in self._connection.read(ready):
            self._do(self._session.handle_envelope(messages, now))
            if self._session.epoch != self._logged_epoch:
                self._log_joined()
        if self._connection.was_denied(ready):
            log.error("%s", self._connection.why_denied())
            self._exit = Exit(exit_codes.DENIED, "not admitted")
        if self._stop_asked:
            self._stop_asked = False
            self._do(handle(StopAsked(), now))
        for started in self._compute.begun(now):
            self._do(handle(started, now))
        if now - self._ticked_at > TICK_EVERY_S or now >= self._session.next_deadline():
            self._ticked_at = now
            self._do(handle(Tick(time.process_time()), now))
            self._watchdog.restart(self._session.leases_s)
            self._balance.look(self._compute.collected, self._compute.failed, self._session.runs, now)
            self._log_missing(now)
            if self._serving_file is not None and now - self._shown_serving_at > SHOW_SERVING_EVERY_S:
                self._show_serving(self._serving_file, now)

    def _log_joined(self) -> None:
        """Log each time a broker admits this worker; the log of an idle one has nothing else.

        This happens with the welcome, not at the next tick: others see the worker as ready from then on.
        """
        session = self._session
        if session.phase is Phase.READY:
            again = " again, as a new worker" if self._logged_epoch else ""
            self._logged_epoch = session.epoch
            serves = ", ".join(sorted(session.capabilities)) or "all filters"
            log.info("%s has joined %s%s; serves %s", session.worker, self._address, again, serves)

    def _log_missing(self, now: float) -> None:
        """Log, once each time, that no broker admits this worker, to explain why it is idle."""
        if self._session.phase is not Phase.GREETING:
            self._asking_since, self._logged_missing = None, False
        elif self._asking_since is None:
            self._asking_since = now
        elif not self._logged_missing and now - self._asking_since >= LOG_MISSING_AFTER_S:
            self._logged_missing = True
            log.warning(
                "%s has had no welcome from the broker at %s for %.0f s; it keeps asking",
                self._session.worker,
                self._address,
                now - self._asking_since,
            )

    def _show_serving(self, file: Path, now: float) -> None:
        """Touch the file that a container's health check reads, while the broker answers."""
        self._shown_serving_at = now
        if self._session.phase is not Phase.READY:
            return
        try:
            file.touch()
        except OSError as error:  # a full disk is no reason not to serve
            if not self._logged_untouched:
                log.warning(
                    "%s cannot be touched, so a health check may take this worker for ill: %s", file, error
                )
            self._logged_untouched = True

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            kind = type(action)
            if kind is Send:
                self._connection.put(action.message)
            elif kind is Run:
                self._restart_watchdog_for(action.task)
                self._compute.add(action.task)
            elif kind is Withdraw:
                if self._compute.withdraw(action.task, action.attempt):
                    self._do(self._session.handle(Withdrawn(action.task, action.attempt), time.monotonic()))
            elif kind is Connect:
                self._connection.open()
            elif kind is Exit and self._exit is None:
                self._exit = action

    def _restart_watchdog_for(self, task: m.Task) -> None:
        """Restart the watchdog before a task runs, unless the task waits and has the last one's lease."""
        if task.lease_s != self._last_lease_s or self._session.runs <= self._slots:
            self._last_lease_s = task.lease_s
            leases_s = self._session.leases_s
            if leases_s != self._watchdog.leases_s:
                self._watchdog.restart(leases_s)

    def _leave(self, exit: Exit) -> int:
        self._connection.flush()
        self._balance.end(self._compute.collected, self._compute.failed, time.monotonic())
        log.info("leaving: %s", exit.reason)
        self._connection.close(FAREWELL_MS)
        self._context.term()  # waits until the farewell is sent, FAREWELL_MS at most
        return exit.code
