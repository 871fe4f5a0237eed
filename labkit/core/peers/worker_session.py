"""The worker's side of the protocol, without a socket, a clock or a thread.

::

    (start)  -> greeting  start (connect, hello)
    greeting -> greeting  no answer, or refused (hello with a fresh epoch)
    greeting -> ready     welcome
    ready    -> greeting  stale, or broker silent (hello with a fresh epoch)
    ready    -> draining  stop asked (return what has not started)
    greeting -> over      stop asked, refused for too long, or a task hung
    ready    -> over      a task hung
    draining -> over      nothing held, drain_s over, stale, broker silent, or a task hung

The shell (``workers/``) owns the socket and the threads that compute. It passes events in and carries out the
actions that come back; both are defined in `worker_events`.

Rules:

* Every hello has a fresh epoch, and the tasks of the former epoch are dropped: work that has not started is
  withdrawn; work that is computing may finish, but its result is not sent.
* A gap in the ticks during which the process used the processor was not a freeze: a task kept Python's
  interpreter lock. Processor time counts as compute time, or such a task would never outrun its lease. A
  worker that was given up meanwhile finishes what it computes before it says hello. Its late result counts;
  if it started over at once, the same task would only silence it again.
* A task is announced as started after it has run for a moment; a task that is done earlier only sends its
  result. A *careful* task (it was in flight when a worker crashed) is announced first and runs only after
  ``Go``.
* A task that outruns its lease cannot be stopped from outside its thread: the worker reports it and exits
  with code ``HUNG``, and its supervisor starts it again.
* A task that never releases the interpreter lock prevents even that report. Then the shell's watchdog ends
  the process; it asks the session how long the running tasks may compute (``leases_s``).
* The worker never retries anything. It answers each task that it was sent exactly once: with the result, the
  error, or by returning it, also after a ``Revoke``.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from labkit.core.peers.session import Phase, Session, Tick
from labkit.core.peers.worker_events import (
    Action,
    Began,
    Event,
    Exit,
    Finished,
    Key,
    Lease,
    Raised,
    Run,
    StopAsked,
    Withdraw,
    Withdrawn,
    WorkerTables,
)
from labkit.core.protocol import exit_codes
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.core.transitions import START, Transitions

LOCKED_SHARE = 1 / 4
"""A process that used the processor for this share of a gap in the ticks was not frozen. A frozen one uses
less, even if it computed for a whole heartbeat."""

TRANSITIONS: Transitions = {
    (START, "greeting"): "start (connect, hello)",
    ("greeting", "greeting"): "no answer, or refused (hello with a fresh epoch)",
    ("greeting", "ready"): "welcome",
    ("ready", "greeting"): "stale, or broker silent (hello with a fresh epoch)",
    ("ready", "draining"): "stop asked (return what has not started)",
    ("greeting", "over"): "stop asked, refused for too long, or a task hung",
    ("ready", "over"): "a task hung",
    ("draining", "over"): "nothing held, drain_s over, stale, broker silent, or a task hung",
}


class WorkerSession(Session[Event, Action]):
    """See the module's head. ``fresh`` returns 8 random bytes, the session's only source of randomness."""

    TRANSITIONS = TRANSITIONS

    def __init__(
        self,
        worker: str,
        capabilities: frozenset[str],
        slots: int,
        pid: int,
        rules: Rules,
        fresh: Callable[[], bytes],
    ) -> None:
        super().__init__(rules)
        self.worker = worker
        self.capabilities = capabilities
        self.slots = slots
        self.pid = pid
        self._fresh = fresh
        self.instance = fresh()
        self.epoch = b""
        self.held: dict[Key, m.Task] = {}  # every attempt that this epoch must answer
        self._line: deque[m.Task] = deque()  # held, and waiting behind a careful task
        self._asking: m.Task | None = None  # the careful task that waits for Go
        # Attempts that the shell has not reported as over, of former epochs too; a lease once it computes.
        self._runs: dict[Key, Lease | None] = {}
        self._alone: Key | None = None  # the careful attempt among them; nothing may run beside it
        self._awake_since = 0.0
        self._processor_s: float | None = None  # at the last tick
        self._was_locked = False  # the last gap in the ticks was not a freeze
        self._given_up = False  # the broker gave it up, and it still computes
        self._refusals = 0
        self._retry_hello_at: float | None = None
        self._drain_until = 0.0
        self.dropped_results = 0

    def start(self, now: float) -> list[Action]:
        """Open the first connection and say hello."""
        self._awake_since = now
        return super().start(now)

    def tables(self) -> WorkerTables:
        """Return a read-only view of what this worker holds, for checkers."""
        return WorkerTables(self.held, self._line, self._runs)

    def next_deadline(self) -> float:
        """Return the instant at which a ``Tick`` is due even if nothing happens."""
        due = self._due()
        if self.phase is Phase.GREETING and self._retry_hello_at is not None:
            due = min(due, self._retry_hello_at)
        elif self.phase is Phase.DRAINING:
            due = min(due, self._drain_until)
        return min([due, *(lease.until for lease in self._runs.values() if lease is not None)])

    @property
    def runs(self) -> int:
        """How many attempts the shell has; each computes or waits for a slot."""
        return len(self._runs)

    @property
    def leases_s(self) -> float:
        """Sum of the longest leases of as many attempts as may compute at once, in seconds."""
        leases = []
        for key, lease in self._runs.items():
            known = lease or self.held.get(key)
            leases.append(self.rules.lease_s if known is None else known.lease_s)
        if self.slots == 1:
            return max(leases, default=self.rules.lease_s)
        return sum(heapq.nlargest(self.slots, leases)) or self.rules.lease_s

    # --- connection -----------------------------------------------------------------------------------------

    def _greet(self, now: float, connect: bool) -> None:
        """Become a new worker: drop everything, take a fresh epoch, say hello."""
        self._withdraw_waiting()
        self.held.clear()
        self._line.clear()
        self._asking = None
        self._was_locked = self._given_up = False
        self._retry_hello_at = None
        self.epoch = self._fresh()
        serves = ",".join(sorted(self.capabilities))
        hello = m.WorkerHello(self.instance, self.epoch, self.slots, self.pid, self.worker, serves)
        self._say_hello(hello, now, connect)

    def _on_welcome(self, welcome: m.WorkerWelcome, now: float) -> None:
        if self.phase is Phase.GREETING and welcome.worker_epoch == self.epoch:
            self._enter(Phase.READY)
            self.broker_epoch = welcome.broker_epoch
            self._heartbeat_s = welcome.heartbeat_s
            self._patience_s = welcome.patience_s
            self._refusals = 0

    def _on_refused(self, refused: m.WorkerRefused, now: float) -> None:
        """Ask again later: the other worker with this id may be a predecessor that is not yet given up."""
        if self.phase is not Phase.GREETING:
            return
        # Counted, not timed: a broker that was frozen must first notice that the other one is dead.
        self._refusals += 1
        if (self._refusals - 1) * self.rules.heartbeat_s >= self.rules.dead_s + self.rules.heartbeat_s:
            self._exit(exit_codes.REFUSED, f"the broker refused this worker: {refused.reason}")
        else:
            self._retry_hello_at = now + self.rules.heartbeat_s

    def _on_stale(self, _: m.Stale, now: float) -> None:
        if self.phase is Phase.READY:
            if self._was_locked and not self._given_up:
                self._given_up = True
                self._drop_line()
                self._withdraw_waiting()
            if not self._given_up or not self.held:
                self._greet(now, connect=False)
        elif self.phase is Phase.DRAINING:
            self._leave(now, "stopped; the broker had already given this worker up")

    # --- tasks ----------------------------------------------------------------------------------------------

    def _on_task(self, task: m.Task, now: float) -> None:
        if self.phase is Phase.DRAINING or (task.task, task.attempt) in self._runs:
            # Draining; or the shell still has a former broker's attempt of the same number, and the session
            # could not tell the two reports apart. The next attempt has another number.
            self._send(m.Returned(task.task, task.attempt), now)
        elif self.phase is Phase.READY:
            self.held[task.task, task.attempt] = task
            self._line.append(task)
            self._advance(now)

    def _advance(self, now: float) -> None:
        """Hand over what may run: all up to the next careful task, which runs only alone and confirmed."""
        while self._line and self._asking is None and self._alone is None:
            task = self._line[0]
            if task.careful:
                if not self._runs:
                    self._asking = task
                    self._send(m.Started(task.task, task.attempt, 1), now)
                return
            self._line.popleft()
            self._hand_over(task)

    def _hand_over(self, task: m.Task) -> None:
        self._runs[task.task, task.attempt] = None
        self._out.append(m.new(Run, (task,)))

    def _on_go(self, go: m.Go, now: float) -> None:
        task = self._asking
        if task is not None and (task.task, task.attempt) == (go.task, go.attempt):
            self._asking = None
            self._alone = (task.task, task.attempt)
            self._line.popleft()
            self._hand_over(task)

    def _on_revoke(self, revoke: m.Revoke, now: float) -> None:
        key = revoke.task, revoke.attempt
        task = self.held.get(key)
        if task is None:
            return  # its answer is on the way
        if key in self._runs:
            self._out.append(Withdraw(*key))
            return
        self._line.remove(task)
        if self._asking is task:
            self._asking = None
        self._send(m.Returned(*key), now)
        self._let_go(key, now)

    def _on_began(self, event: Began, now: float) -> None:
        key = event.task, event.attempt
        if key not in self._runs:
            return  # it is over already
        since = max(event.at, self._awake_since)
        task = self.held.get(key)
        if task is None:  # of a former epoch: its result is not wanted
            self._runs[key] = Lease(since, since + self.rules.lease_s, self.rules.lease_s)
            return
        self._runs[key] = Lease(since, since + task.lease_s, task.lease_s)
        if not task.careful:
            self._send(m.Started(event.task, event.attempt, 0), now)

    def _on_finished(self, event: Finished, now: float) -> None:
        if not self._is_over(event.task, event.attempt, now):
            self.dropped_results += 1
            return
        if event.payload.size > m.BULK_BYTES:
            self._send(m.Bulk(event.payload.size), now)
        self._send(m.new(m.Done, event), now)  # it has the same fields
        self._let_go((event.task, event.attempt), now)

    def _on_raised(self, event: Raised, now: float) -> None:
        if not self._is_over(event.task, event.attempt, now):
            self.dropped_results += 1
            return
        task, attempt, compute_s, error, traceback = event
        self._send(m.WorkerError(task, attempt, compute_s, "ERROR", error, traceback), now)
        self._let_go((task, attempt), now)

    def _on_withdrawn(self, event: Withdrawn, now: float) -> None:
        if self._is_over(event.task, event.attempt, now):
            self._send(m.Returned(event.task, event.attempt), now)
            self._let_go((event.task, event.attempt), now)

    def _is_over(self, task: bytes, attempt: int, now: float) -> bool:
        """Note that the shell no longer has this attempt; return whether this epoch may report on it."""
        key = task, attempt
        self._runs.pop(key, None)
        if self._alone == key:
            self._alone = None
        if key in self.held:
            return True
        self._advance(now)  # a careful task may have waited for this
        return False

    def _withdraw_waiting(self) -> None:
        """Withdraw every attempt that is handed over and not known to compute, the newest first.

        A returned task goes to the front of the broker's queue, so the oldest must come last.
        """
        self._out += [
            Withdraw(*key) for key in reversed(self.held) if key in self._runs and self._runs[key] is None
        ]

    def _drop_line(self) -> list[m.Task]:
        """Forget the tasks that were not handed over yet; return them, the newest first."""
        dropped = list(reversed(self._line))
        for task in dropped:
            del self.held[task.task, task.attempt]
        self._line.clear()
        self._asking = None
        return dropped

    def _let_go(self, key: Key, now: float) -> None:
        del self.held[key]
        self._advance(now)
        if self.phase is Phase.DRAINING and not self.held:
            self._leave(now, "stopped")
        elif self._given_up and not self.held:
            self._greet(now, connect=False)

    # --- leaving --------------------------------------------------------------------------------------------

    def _on_stop(self, _: StopAsked, now: float) -> None:
        if self.phase is Phase.GREETING:
            # The broker may have accepted it: without a goodbye it would count as lost.
            self._leave(now, "stopped before the broker had answered")
        elif self.phase is Phase.READY:
            self._enter(Phase.DRAINING)
            self._drain_until = now + self.rules.drain_s
            self._send(m.Leaving(), now)
            for task in self._drop_line():
                self._send(m.Returned(task.task, task.attempt), now)
            self._withdraw_waiting()
            if not self.held:
                self._leave(now, "stopped")

    def _leave(self, now: float, why: str, code: int = 0) -> None:
        self._send(m.WorkerGoodbye(), now)
        self._exit(code, why)

    def _exit(self, code: int, reason: str) -> None:
        self._enter(Phase.OVER)
        self._out.append(Exit(code, reason))

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick, now: float) -> None:
        before_s, self._processor_s = self._processor_s, tick.processor_s
        if slept_s := self._slept_s(now):
            used_s = 0.0 if before_s is None else min(tick.processor_s - before_s, slept_s)
            self._was_locked = used_s >= slept_s * LOCKED_SHARE
            self._overslept(slept_s - used_s, now - used_s)
        for (task, attempt), lease in self._runs.items():
            if lease is not None and now >= lease.until:
                if (task, attempt) in self.held:
                    why = "it outran its lease"
                    hung = m.WorkerError(task, attempt, now - lease.since, "HUNG", why, m.EMPTY)
                    self._send(hung, now)
                self._leave(now, "a task outran its lease", exit_codes.HUNG)
                return
        if self.phase is Phase.DRAINING and now >= self._drain_until:
            self._leave(now, "stopped; what was still running was given up")
        elif self._is_to_ask_again(now):
            self._greet(now, connect=False)
        elif self._is_broker_gone(now):
            if self.phase is Phase.DRAINING:
                self._exit(0, "stopped; the broker was gone")
            else:
                self._greet(now, connect=True)
        elif self.phase is not Phase.GREETING:
            self._beat(now)

    def _is_to_ask_again(self, now: float) -> bool:
        """Return whether it was refused a while ago and has not been accepted since."""
        at = self._retry_hello_at
        return self.phase is Phase.GREETING and at is not None and now >= at

    def _overslept(self, slept_s: float, awake_since: float) -> None:
        """Extend all leases: while the process was frozen or had no processor, nothing was computed."""
        self._awake_since = awake_since
        for key, lease in self._runs.items():
            if lease is not None:
                self._runs[key] = lease._replace(until=lease.until + slept_s)

    # --- handlers -------------------------------------------------------------------------------------------

    _handlers = {
        **Session._handlers,
        Began: _on_began,
        Finished: _on_finished,
        Raised: _on_raised,
        Withdrawn: _on_withdrawn,
        StopAsked: _on_stop,
        Tick: _on_tick,
    }

    _message_handlers = {
        **Session._message_handlers,
        m.WorkerWelcome: _on_welcome,
        m.WorkerRefused: _on_refused,
        m.Stale: _on_stale,
        m.Task: _on_task,
        m.Go: _on_go,
        m.Revoke: _on_revoke,
    }
