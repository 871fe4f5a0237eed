"""The broker's state machine: which task is where, who lives, and what to say to whom.

``handle(event, now) -> [ToClient or ToWorker, ...]``; no socket, no clock, no thread, no randomness. The
shell around it (``labkit.broker``) and the simulator (``labkit.simulation``) feed it the same events.

The life of a task::

    submitted ──► QUEUED ──dispatched──► ASSIGNED ──done──► (result sent)
                   ▲  │                    │  │
                   │  │                    │  └─failed──► (failure sent): raised, hung, or crashed workers
                   │  └─ cancelled,        │
                   │     deadline          └─requeued: its worker was lost, hung, or gave it back
                   └───────────────────────────┘ at the front

Rules, each of which the simulation checks (``labkit.simulation.online_checker`` and ``invariants``):

* A worker that says hello again is a new worker; nothing of its former epoch is merged into the new one.
* A result (or failure) counts if its attempt was dispatched to that worker's epoch and the task is still
  open, however late; any other is counted and dropped. So each task has exactly one visible outcome.
* A task that was in flight at a crash is tried again *carefully*: its worker announces the start and waits
  for ``Go``. Who is to blame for what, ``evidence`` decides; who gets which task, ``placement``.
* A task that two workers in turn fell silent with is set aside until the second begins anew, or ends.
* What was taken from a worker stays charged to it until it answers: it may still be computing it.
* Every open task has a deadline armed: nothing can hang.
* Liveness is judged only in ``Tick``, which the shell sends after it has drained what had arrived; and a
  broker that overslept grants everybody a full period first, because the silence was its own.

Work is handed out in ``Tick`` too: messages first, then one round of decisions, then one burst of sends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from labkit.core import history as h
from labkit.core.broker.blame import Blame
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.inputs import (
    Action,
    ClientClosed,
    FromClient,
    FromWorker,
    Tick,
    ToClient,
    ToWorker,
    WorkerClosed,
)
from labkit.core.broker.placement import Placement
from labkit.core.broker.policies import Policy
from labkit.core.broker.records import ClientRecord, OpenTask, Route, State, Worker
from labkit.core.broker.snapshot import Snapshot, open_work_s, worker_rows
from labkit.core.broker.tables import Tables
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.broker.worker_table import MAX_SLOTS, WorkerTable
from labkit.core.deadlines import Deadlines
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

MAX_LANES = 1024
MAX_STALE_ROUTES = 4096
MAX_NAME = 256
MAX_NEEDS = 1024
MAX_POLICY_ERRORS_TOLD = 20
MIN_LEASE_S = 0.1
"""With less, a worker would leave because the thread that computes was slow to wake up."""


class Scheduler:
    """See the module's head. ``choose`` is a policy's name or a policy function of the learner's own.

    ``may_use_worker_id(route, id)`` returns whether the peer at that connection may use that worker id; the
    shell knows which key it presented.
    """

    def __init__(
        self, rules: Rules, epoch: bytes, now: float, choose: str | Policy = "least_busy",
        may_use_worker_id: Callable[[Route, str], bool] = lambda _route, _worker: True,
    ) -> None:  # fmt: skip
        self.rules = rules
        self._may_use_worker_id = may_use_worker_id
        self.epoch = epoch
        self.tasks: dict[bytes, OpenTask] = {}
        self.queue = TaskQueue()
        self.queued_bytes = 0  # payload bytes of all open tasks
        self.workers = WorkerTable(rules)
        self.blame = Blame(rules)
        self.placement = Placement(self.queue, self.workers, choose, self._on_policy_error)
        self.clients = ClientTable()
        self.deadlines = Deadlines()
        self.counters: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}  # what the shell adds to ``status``: ports, state of the mirror
        self._stale: dict[Route, bytes] = {}  # connections of lost workers -> their key
        self._to_ack: dict[bytes, ClientRecord] = {}
        self._ack_at = now
        self._events: list[Event] = []
        self._out: list[Action] = []
        self._last_tick = now
        self._next_beat = now
        self._next_sweep = now
        self._work_changed = False
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            FromClient: lambda event, now: self._on_client_message(event.route, event.message, now),
            FromWorker: lambda event, now: self._on_worker_message(event.route, event.message, now),
            ClientClosed: self._on_client_closed, WorkerClosed: self._on_worker_closed, Tick: self._on_tick,
        }  # fmt: skip
        self._client_handlers: dict[type, Callable[[ClientRecord, Any, float], None]] = {
            m.Submit: self._on_submit, m.Cancel: self._on_cancel, m.Note: self._on_note,
            m.Query: self._on_query,
            m.ClientGoodbye: self._on_client_goodbye, m.Heartbeat: _nothing, m.Bulk: self._on_client_bulk,
        }  # fmt: skip
        self._worker_handlers: dict[type, Callable[[Worker, Any, float], None]] = {
            m.Done: self._on_done, m.Started: self._on_started, m.WorkerError: self._on_worker_error,
            m.Returned: self._on_returned, m.Leaving: self._on_leaving,
            m.WorkerGoodbye: self._on_worker_goodbye,
            m.Heartbeat: _nothing, m.Bulk: self._on_worker_bulk,
        }  # fmt: skip

    def handle(self, event: Any, now: float) -> list[Action]:
        """Take one event in and return the messages to send, in order."""
        self._handlers[type(event)](event, now)
        out, self._out = self._out, []
        return out

    def handle_envelope(
        self, side: type[FromClient | FromWorker], route: Route, messages: Iterable[m.Message], now: float
    ) -> list[Action]:
        """Do what ``handle`` does for each message of one envelope: the broker's hot path."""
        take = self._on_worker_message if side is FromWorker else self._on_client_message
        for message in messages:
            take(route, message, now)
        out, self._out = self._out, []
        return out

    def take_events(self) -> list[Event]:
        """Return the transitions since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def last_heard(self, route: Route) -> float:
        """Return when the peer at this connection last said anything that counted; long ago if it has not."""
        peer = self.workers.at(route) or self.clients.at(route)
        return float("-inf") if peer is None else peer.last_heard

    def announced_bytes(self) -> int:
        """Return how much peers are sending now by their own account, within what the broker could take."""
        patience_s = sum(peer.patience_s for side in (self.workers, self.clients) for peer in side)
        return int(min(patience_s * self.rules.slow_link_bytes_per_s, self.rules.max_queued_bytes))

    def next_deadline(self) -> float | None:
        """Return the instant at which a ``Tick`` is due even if nothing arrives; None if nobody is here."""
        due = self.deadlines.next_deadline()
        if len(self.workers) or len(self.clients):
            beat = min(self._next_beat, self._next_sweep)
            if self._to_ack:
                beat = min(beat, self._ack_at)
            due = beat if due is None else min(due, beat)
        return due

    # --- clients --------------------------------------------------------------------------------------------

    def _on_client_message(self, route: Route, message: m.Message, now: float) -> None:
        client = self.clients.at(route)
        if client is None:
            if type(message) is m.ClientHello:
                self._on_client_hello(route, message, now)
            elif type(message) is not m.ClientGoodbye:
                self.counters["stale_client_messages"] += 1
                self._out.append(ToClient(route, m.Stale()))
            return
        client.last_heard = now
        if type(message) is m.ClientHello:
            self._on_client_hello(route, message, now)
            return
        if client.patience_s and type(message) is not m.Bulk:
            client.patience_s = 0.0
        handler = self._client_handlers.get(type(message))
        if handler is None:
            self.counters["unexpected_messages"] += 1
        else:
            handler(client, message, now)

    def _lift_head(self, now: float) -> None:
        """Somebody comes. Where nobody was waiting, no ``Tick`` was due: that pause was no sleep."""
        if not len(self.workers) and not len(self.clients):
            self._last_tick = now

    def _on_client_hello(self, route: Route, hello: m.ClientHello, now: float) -> None:
        self._lift_head(now)
        if self.clients.get(hello.client) is None and len(self.clients) >= self.rules.max_clients:
            self.counters["refused_clients"] += 1
            self._out.append(ToClient(route, m.Refused(self.rules.busy_retry_s, "too many clients", b"")))
            return
        self.clients.join(hello.client, hello.name[:MAX_NAME], route, now)
        r = self.rules
        self._out.append(
            ToClient(
                route,
                m.ClientWelcome(
                    self.epoch, r.heartbeat_s, r.broker_gone_s, r.max_client_tasks, r.max_client_bytes
                ),
            )
        )

    def _on_submit(self, client: ClientRecord, submit: m.Submit, now: float) -> None:
        task_id = submit.task
        known = self.tasks.get(task_id)
        if known is not None:
            if known.client is client:  # resubmitted: it is here already
                self._ack(client, task_id, now)
            else:
                self._refuse(client, task_id, "another client's task has this id", now)
            return
        verdict = self.blame.verdict(task_id)
        if verdict is not None:  # its client did not get the message
            self._out.append(ToClient(client.route, verdict))
            return
        size = submit.payload.size
        why = self._full(client, size)
        if why:
            self._refuse(client, task_id, why, now)
            return
        if len(submit.needs) > MAX_NEEDS:
            why = "no worker has so many capabilities"
            self._out.append(ToClient(client.route, m.Failed(task_id, 0, "NO_WORKER", "", why, m.EMPTY)))
            return
        needs = frozenset(submit.needs.split(",")) if submit.needs else _NOTHING
        if needs not in self.queue.lanes and len(self.queue.lanes) >= MAX_LANES:
            self._refuse(client, task_id, "too many different sets of capabilities are waiting", now)
            return
        budget_s = (
            submit.budget_s
            if 0 < submit.budget_s < self.rules.task_deadline_s
            else self.rules.task_deadline_s
        )
        # Not cut down to the budget: a task that is merely late must not cost its worker.
        lease_s = submit.lease_s if 0 < submit.lease_s < self.rules.task_deadline_s else self.rules.lease_s
        lease_s = max(lease_s, MIN_LEASE_S)
        job = submit.job[:MAX_NAME]
        task = OpenTask(task_id, client, job, needs, lease_s, now + budget_s, submit.payload)
        self.tasks[task_id] = client.tasks[task_id] = task
        client.bytes += size
        self.queued_bytes += size
        task.tick = self.deadlines.arm(task_id, task.deadline)
        self.queue.push(task)
        self._work_changed = True
        self._ack(client, task_id, now)
        detail: dict[str, Any] = {"job": job, "client": client.name, "bytes": size}
        if submit.needs:
            detail["needs"] = submit.needs
        self._events.append(m.new(Event, (now, h.SUBMITTED, task.hex, 0, "", detail)))

    def _full(self, client: ClientRecord, size: int) -> str:
        r = self.rules
        if len(self.tasks) >= r.max_queued_tasks or self.queued_bytes + size > r.max_queued_bytes:
            return "the broker's queue is full"
        if len(client.tasks) >= r.max_client_tasks or client.bytes + size > r.max_client_bytes:
            return "this client has used up its quota"
        return ""

    def _ack(self, client: ClientRecord, task_id: bytes, now: float) -> None:
        if not self._to_ack:
            self._ack_at = now + self.rules.ack_delay_s
        client.acks.append(task_id)
        self._to_ack[client.id] = client

    def _refuse(self, client: ClientRecord, task_id: bytes, reason: str, now: float) -> None:
        self.counters["refused_tasks"] += 1
        if client.refused_at != now:  # one event a client and turn: a flood must not become a flood of events
            client.refused_at = now
            self._events.append(Event(now, h.REJECTED, task_id.hex(), 0, "", {"reason": reason}))
        self._out.append(ToClient(client.route, m.Refused(self.rules.busy_retry_s, reason, task_id)))

    def _on_cancel(self, client: ClientRecord, cancel: m.Cancel, now: float) -> None:
        task = self.tasks.get(cancel.task)
        possible = task is not None and task.client is client and task.started_at is None
        if task is not None and possible:
            self._withdraw(task, now, "asked")
        self._out.append(ToClient(client.route, m.CancelReply(cancel.task, int(possible))))

    def _withdraw(self, task: OpenTask, now: float, why: str) -> None:
        """End a task as cancelled, wherever it is."""
        self._revoke(task)
        self._end(task)
        self._events.append(Event(now, h.CANCELLED, task.hex, task.attempt, "", {"cause": why}))

    def _on_note(self, client: ClientRecord, note: m.Note, now: float) -> None:
        self._events.append(Event(now, h.FAULT, "", 0, "", {"fault": note.fault, "target": note.target}))
        self._out.append(ToClient(client.route, m.Noted(note.number)))

    def _on_query(self, client: ClientRecord, query: m.Query, now: float) -> None:
        text = json.dumps(self.status(now)).encode()
        self._out.append(ToClient(client.route, m.Info(query.number, text)))

    def _on_client_bulk(self, client: ClientRecord, bulk: m.Bulk, now: float) -> None:
        client.patience_s = self._patience(bulk.size)

    def _on_client_goodbye(self, client: ClientRecord, _: m.ClientGoodbye, now: float) -> None:
        self._forget_client(client, now)

    def _on_client_closed(self, event: ClientClosed, now: float) -> None:
        client = self.clients.disconnect(event.route)
        if client is not None:
            client.last_heard = now

    def _forget_client(self, client: ClientRecord, now: float) -> None:
        for task in list(client.tasks.values()):
            self._withdraw(task, now, "client gone")
        self.clients.remove(client)
        self._to_ack.pop(client.id, None)

    # --- workers --------------------------------------------------------------------------------------------

    def _on_worker_message(self, route: Route, message: m.Message, now: float) -> None:
        worker = self.workers.at(route)
        if type(message) is m.WorkerHello:
            self._on_worker_hello(route, message, now)
            return
        if worker is None:
            self._on_stale_message(route, message, now)
            return
        heard_before, worker.last_heard = worker.last_heard, now
        if worker.patience_s and type(message) is not m.Bulk:
            worker.patience_s = 0.0
        if worker.suspect:
            self._extend_leases(worker, now - heard_before)
            worker.suspect = False
            self.workers.touch(worker)
            self._work_changed = True
            self._events.append(Event(now, h.ALIVE, "", 0, worker.id))
        handler = self._worker_handlers.get(type(message))
        if handler is None:
            self.counters["unexpected_messages"] += 1
        else:
            handler(worker, message, now)

    def _on_worker_hello(self, route: Route, hello: m.WorkerHello, now: float) -> None:
        self._lift_head(now)
        # Accepted or not: it lives.
        self._reconsider(self.blame.acquit(hello.instance, self.tasks), "", now)
        present = self.workers.get(hello.worker)
        here = self.workers.at(route)
        reason = ""
        if not hello.worker or not 1 <= hello.slots <= MAX_SLOTS:
            reason = f"a worker needs an id and 1 to {MAX_SLOTS} slots"
        elif len(hello.worker) > MAX_NAME or len(hello.capabilities) > MAX_NEEDS:
            reason = "its name or its list of capabilities is too long"
        elif not self._may_use_worker_id(route, hello.worker):
            reason = f"its key is not one of {hello.worker}"
        elif present is not None and present.instance != hello.instance:
            reason = f"another worker is called {hello.worker}"
        elif present is None and len(self.workers) >= self.rules.max_workers:
            reason = "too many workers"
        if reason:
            self.counters["refused_workers"] += 1
            self._events.append(Event(now, h.REFUSED, "", 0, hello.worker[:MAX_NAME], {"reason": reason}))
            self._out.append(ToWorker(route, m.WorkerRefused(reason)))
            return
        for former in {id(w): w for w in (present, here) if w is not None}.values():
            if former.epoch == hello.epoch and former.route == route:  # the same hello twice
                self._welcome(former)
                return
            self._lose(former, "rejoined", now)
        capabilities = frozenset(hello.capabilities.split(",")) if hello.capabilities else _NOTHING
        worker = Worker(
            hello.worker, route, hello.instance, hello.epoch, hello.slots, capabilities, hello.pid, now
        )
        self._stale.pop(route, None)
        self.workers.join(worker)
        self._work_changed = True
        self._events.append(
            Event(now, h.JOINED, "", 0, worker.id, {
                "epoch": hello.epoch.hex(), "slots": hello.slots, "capabilities": hello.capabilities,
                "pid": hello.pid,
            })
        )  # fmt: skip
        self._welcome(worker)

    def _welcome(self, worker: Worker) -> None:
        r = self.rules
        self._out.append(
            ToWorker(worker.route, m.WorkerWelcome(self.epoch, worker.epoch, r.heartbeat_s, r.broker_gone_s))
        )

    def _on_stale_message(self, route: Route, message: m.Message, now: float) -> None:
        """A message from a connection without a living worker: a lost one woke up, or this broker is new."""
        key = self._stale.get(route)
        if type(message) is m.Done and key is not None:
            self._on_late_result(key, message, now)
        elif type(message) is m.WorkerError and key is not None:
            self._on_late_error(key, message, now)
        else:
            self.counters["stale_worker_messages"] += 1
        if type(message) is m.WorkerGoodbye:
            self._reconsider(self.blame.end_silence(route, self.tasks), "", now)
        else:
            self._out.append(ToWorker(route, m.Stale()))

    def _on_started(self, worker: Worker, started: m.Started, now: float) -> None:
        task = worker.tasks.get(started.task)
        if task is None or task.attempt != started.attempt:
            self.counters["stale_starts"] += 1
            return
        if task.started_at is None:
            task.started_at = now
            self._events.append(Event(now, h.STARTED, task.hex, task.attempt, worker.id))
            if task.client.route is not None:
                self._out.append(ToClient(task.client.route, m.Running(task.id, task.attempt, worker.id)))
        if started.confirm:
            self._out.append(ToWorker(worker.route, m.Go(task.id, task.attempt)))

    def _on_done(self, worker: Worker, done: m.Done, now: float) -> None:
        task = worker.tasks.get(done.task)
        if task is None or task.attempt != done.attempt:
            self._on_revoked_answer(worker, done)
            self._on_late_result(worker.key, done, now)
            return
        self.workers.learn(task.job, done.compute_s)
        self._finish(task, worker.key, done, now)

    def _on_revoked_answer(self, worker: Worker, answer: m.Done | m.WorkerError | m.Returned) -> None:
        """The worker answers for an attempt that is not its own any more: it has room again."""
        self.workers.answered(worker, answer.task, answer.attempt)
        self._work_changed = True

    def _on_late_result(self, key: bytes, done: m.Done, now: float) -> None:
        """A result of an attempt that was taken from its worker: the first valid one wins."""
        task = self.tasks.get(done.task)
        if task is None or task.holders.get(done.attempt) != key:
            self.counters["duplicates"] += 1
            self._events.append(Event(now, h.DUPLICATE, done.task.hex(), done.attempt, _name(key)))
            return
        self._revoke(task)
        self._finish(task, key, done, now)

    def _on_late_error(self, key: bytes, error: m.WorkerError, now: float) -> None:
        """A failure of an attempt that was taken from its worker: it is the outcome, as a late result is."""
        task = self.tasks.get(error.task)
        if task is None or task.holders.get(error.attempt) != key:
            self.counters["stale_errors"] += 1
        elif error.code != "HUNG" or self.blame.blame_hang(task, error.attempt):
            self._revoke(task)
            self._fail_as_told(task, error, _name(key), now)

    def _finish(self, task: OpenTask, key: bytes, done: m.Done, now: float) -> None:
        worker_id = _name(key)
        worker = self.workers.get(worker_id)
        if worker is not None and worker.key == key:
            worker.completed += 1
        self._end(task)
        task_id, attempt, compute_s, payload = done
        size = payload.size
        detail = {"compute_s": round(compute_s, 6), "bytes": size}
        self._events.append(m.new(Event, (now, h.DONE, task.hex, attempt, worker_id, detail)))
        route = task.client.route
        if route is not None:
            if size > m.BULK_BYTES:
                self._out.append(ToClient(route, m.Bulk(size)))
            result = m.new(m.Result, (task_id, attempt, compute_s, worker_id, payload))
            self._out.append(m.new(ToClient, (route, result)))

    def _on_worker_error(self, worker: Worker, error: m.WorkerError, now: float) -> None:
        task = worker.tasks.get(error.task)
        if task is None or task.attempt != error.attempt:
            self.counters["stale_errors"] += 1
            self._on_revoked_answer(worker, error)
            return
        if error.code == "HUNG" and not self.blame.blame_hang(task, error.attempt):
            self._requeue(task, "hung", now)
        else:
            self._fail_as_told(task, error, worker.id, now)

    def _fail_as_told(self, task: OpenTask, error: m.WorkerError, worker: str, now: float) -> None:
        code = "HUNG" if error.code == "HUNG" else "ERROR"
        self._fail(task, code, worker, error.error, error.payload, now, error.attempt)

    def _on_returned(self, worker: Worker, returned: m.Returned, now: float) -> None:
        task = worker.tasks.get(returned.task)
        if task is not None and task.attempt == returned.attempt:
            self._requeue(task, "returned", now)
        else:
            self._on_revoked_answer(worker, returned)

    def _on_leaving(self, worker: Worker, _: m.Leaving, now: float) -> None:
        if not worker.draining:
            worker.draining = True
            self.workers.touch(worker)
            self._events.append(Event(now, h.DRAINING, "", 0, worker.id))

    def _on_worker_goodbye(self, worker: Worker, _: m.WorkerGoodbye, now: float) -> None:
        self._lose(worker, "left", now)

    def _on_worker_bulk(self, worker: Worker, bulk: m.Bulk, now: float) -> None:
        worker.patience_s = self._patience(bulk.size)

    def _patience(self, size: int) -> float:
        return min(size, self.rules.max_message_bytes) / self.rules.slow_link_bytes_per_s

    def _on_worker_closed(self, event: WorkerClosed, now: float) -> None:
        key = self._stale.pop(event.route, b"")
        self._reconsider(self.blame.blame_silent(event.route, self.tasks), _name(key), now)
        worker = self.workers.at(event.route)
        if worker is not None:
            self._lose(worker, "closed", now)

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        """A worker is no more. ``cause``: closed, silent, lease, rejoined, or left (no fault)."""
        self.workers.remove(worker, "left" if cause == "left" else "lost")
        if cause == "left":
            self._events.append(Event(now, h.LEFT, "", 0, worker.id))
        else:
            self._events.append(Event(now, h.LOST, "", 0, worker.id, {"cause": cause}))
        if cause in ("silent", "lease"):  # its connection may still be there, and speak
            self._stale[worker.route] = worker.key
            if len(self._stale) > MAX_STALE_ROUTES:
                del self._stale[next(iter(self._stale))]
        if cause == "closed":
            self.blame.blame_crash(worker)
        elif cause == "silent":
            self.blame.note_silence(worker)
        for task in reversed(list(worker.tasks.values())):  # each goes to the front: the oldest ends up first
            if self.blame.is_poison(task):
                self._fail_poison(task, worker.id, now)
            else:
                wait_s = self.blame.wait_s(task) if cause == "silent" else 0.0
                self._requeue(task, "lost" if cause != "left" else "left", now, wait_s)
        worker.tasks.clear()  # it is remembered as departed: without what it held
        worker.revoked.clear()
        worker.in_flight = 0

    def _reconsider(self, tasks: Iterable[OpenTask], worker: str, now: float) -> None:
        """Something is known now of a worker that was silent: what ran in it is poison, or waits no more."""
        for task in tasks:
            if self.blame.is_poison(task):
                self._revoke(task)
                self._fail_poison(task, worker, now, "; the last one had fallen silent while it ran")
            elif task.id in self.queue.aside:
                self._let_in(task)

    def _let_in(self, task: OpenTask) -> None:
        self.queue.release(task)
        self._work_changed = True

    def _fail_poison(self, task: OpenTask, worker: str, now: float, how: str = "") -> None:
        self._events.append(Event(now, h.POISONED, task.hex, task.attempt, worker, {"crashes": task.crashes}))
        self._fail(task, "POISONED", worker, f"it crashed {task.crashes} workers{how}", m.EMPTY, now)

    def _requeue(self, task: OpenTask, cause: str, now: float, wait_s: float = 0.0) -> None:
        worker = task.worker
        assert worker is not None
        task.holders[task.attempt] = worker.key
        self._release(task)
        task.state = State.QUEUED
        detail: dict[str, Any] = {"cause": cause}
        if wait_s:
            detail["wait_s"] = round(wait_s, 3)
            self.queue.set_aside(task, now + wait_s)
        else:
            self.queue.push(task, front=True)
            self._work_changed = True
        self._events.append(Event(now, h.REQUEUED, task.hex, task.attempt, worker.id, detail))

    def _release(self, task: OpenTask) -> None:
        worker = task.worker
        assert worker is not None
        if self.workers.get(worker.id) is worker:
            self.workers.released(worker, task)
            self._work_changed = True
        task.worker = None
        task.started_at = None

    def _revoke(self, task: OpenTask) -> None:
        """Take a task back from the worker that has it, if there is one; the task is about to end."""
        worker = task.worker
        if worker is not None:
            self._out.append(ToWorker(worker.route, m.Revoke(task.id, task.attempt)))
            self.workers.revoked(worker, task)
            task.worker = None

    def _fail(
        self, task: OpenTask, code: str, worker: str, error: str, payload: m.Payload, now: float,
        attempt: int | None = None,
    ) -> None:  # fmt: skip
        attempt = attempt or task.attempt
        self._end(task)
        self._events.append(
            Event(now, h.FAILED, task.hex, attempt, worker, {"code": code, "error": error[:200]})
        )
        failed = m.Failed(task.id, attempt, code, worker, error, payload)
        self.blame.record(failed)
        if task.client.route is not None:
            self._out.append(ToClient(task.client.route, failed))

    def _end(self, task: OpenTask) -> None:
        """Take a task out of every table; its outcome is being told."""
        if task.state is State.QUEUED:
            self.queue.remove(task)
        elif task.worker is not None:
            self._release(task)
        del self.tasks[task.id]
        del task.client.tasks[task.id]
        task.client.bytes -= task.size
        self.queued_bytes -= task.size
        self.deadlines.disarm(task.id, task.tick)

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, _: Tick, now: float) -> None:
        if now - self._last_tick > self.rules.heartbeat_s:
            self._forgive_silence(now)
        self._last_tick = now
        for task_id in self.deadlines.expire(now):
            self._expire(self.tasks[task_id], now)
        if now >= self._next_sweep:
            self._next_sweep = now + self.rules.heartbeat_s / 4
            self._sweep(now)
        if self._to_ack and now >= self._ack_at:
            self._send_acks()
        if self._work_changed:
            self._dispatch(now)
        if now >= self._next_beat:
            self._next_beat = now + self.rules.heartbeat_s
            self._beat()

    def _forgive_silence(self, now: float) -> None:
        """The broker itself was not looking (frozen, suspended, swamped): nobody is blamed for that time."""
        self.counters["oversleeps"] += 1
        for worker in self.workers:
            worker.last_heard = now
            self._extend_leases(worker, now - self._last_tick)
        for client in self.clients:
            client.last_heard = now

    def _extend_leases(self, worker: Worker, by_s: float) -> None:
        """A time in which nobody could report anything is no computing."""
        for task in worker.tasks.values():
            if task.started_at is not None:
                task.started_at += by_s

    def _expire(self, task: OpenTask, now: float) -> None:
        if task.state is State.QUEUED and not self.workers.any_can(task.needs):
            wanted = ",".join(sorted(task.needs)) or "any task"
            self._fail(task, "NO_WORKER", "", f"no living worker can do {wanted}", m.EMPTY, now)
            return
        worker_id = task.worker.id if task.worker else ""
        self._revoke(task)
        self._fail(task, "DEADLINE", worker_id, "it was not done in time", m.EMPTY, now)

    def _sweep(self, now: float) -> None:
        """Find the silent and the hung."""
        r = self.rules
        lost: list[tuple[Worker, str]] = []
        for worker in self.workers:
            silent_s = now - worker.last_heard - worker.patience_s
            if silent_s >= r.dead_s:
                lost.append((worker, "silent"))
            elif silent_s >= r.suspect_s:
                if not worker.suspect:
                    worker.suspect = True
                    self.workers.touch(worker)
                    self._events.append(Event(now, h.SUSPECT, "", 0, worker.id))
            elif any(self.blame.is_hung(task, now) for task in worker.tasks.values()):
                lost.append((worker, "lease"))  # it beats, but does not even report what it should have
        for worker, cause in lost:
            if cause == "lease":
                self._fail_hung(worker, now)
            self._lose(worker, cause, now)
        for task in [task for task in self.queue.aside.values() if now >= task.release_at]:
            self._let_in(task)
        for client in [c for c in self.clients if now - c.last_heard - c.patience_s >= r.client_gone_s]:
            self._forget_client(client, now)

    def _fail_hung(self, worker: Worker, now: float) -> None:
        for task in list(worker.tasks.values()):
            if self.blame.is_hung(task, now) and self.blame.blame_hang(task, task.attempt):
                self._fail(task, "HUNG", worker.id, "it outran its lease", m.EMPTY, now)

    def _beat(self) -> None:
        beat = m.Heartbeat()
        self._out += [ToWorker(worker.route, beat) for worker in self.workers]
        self._out += [ToClient(client.route, beat) for client in self.clients if client.route is not None]

    def _send_acks(self) -> None:
        """Acknowledge what is still open: an outcome that was sent meanwhile has said more."""
        for client in self._to_ack.values():
            open_still = b"".join([task_id for task_id in client.acks if task_id in client.tasks])
            if open_still and client.route is not None:
                self._out.append(ToClient(client.route, m.Accepted(open_still)))
            client.acks.clear()
        self._to_ack.clear()

    # --- handing out work -----------------------------------------------------------------------------------

    def _dispatch(self, now: float) -> None:
        self._work_changed = False
        for task, worker in self.placement.pairs(now):
            self._assign(task, worker, now)

    def _on_policy_error(self, why: str, now: float) -> None:
        self.counters["policy_errors"] += 1
        if self.counters["policy_errors"] <= MAX_POLICY_ERRORS_TOLD:
            self._events.append(Event(now, h.POLICY_ERROR, "", 0, "", {"error": why[:200]}))

    def _assign(self, task: OpenTask, worker: Worker, now: float) -> None:
        task.attempt += 1
        task.state = State.ASSIGNED
        task.worker = worker
        self.workers.dispatched(worker, task)
        self._events.append(m.new(Event, (now, h.DISPATCHED, task.hex, task.attempt, worker.id, h.NO_DETAIL)))
        if task.size > m.BULK_BYTES:
            self._out.append(ToWorker(worker.route, m.Bulk(task.size)))
        fields = (task.id, task.attempt, task.lease_s, int(task.careful), task.payload)
        self._out.append(m.new(ToWorker, (worker.route, m.new(m.Task, fields))))

    # --- pictures of it -------------------------------------------------------------------------------------

    def snapshot(self, now: float) -> Snapshot:
        """Return what the Redis mirror shows: every worker, those gone included, and the queue."""
        return Snapshot(tuple(worker_rows(self.workers, now)), tuple(task.hex for task in self.queue))

    def tables(self) -> Tables:
        """Return a read-only view of all tables, for checkers."""
        return Tables(
            self.rules, self.tasks, self.queue, self.workers, self.clients, self.deadlines, self.queued_bytes,
            self.blame.silent, self._stale,
        )  # fmt: skip

    def status(self, now: float) -> dict[str, Any]:
        """Return the broker's own picture, ready for JSON; all ages in seconds."""
        return {
            "epoch": self.epoch.hex(),
            "workers": worker_rows(self.workers, now),
            "queued": len(self.queue),
            "assigned": len(self.tasks) - len(self.queue),
            "open_bytes": self.queued_bytes,
            "open_work_s": open_work_s(self.workers, self.queue, now),
            "clients": len(self.clients),
            "counters": dict(self.counters),
            **self.facts,
        }


_NOTHING: frozenset[str] = frozenset()


def _nothing(_who: Any, _message: Any, _now: float) -> None:
    """A heartbeat has done its work by arriving."""


def _name(key: bytes) -> str:
    return key[8:].decode()
