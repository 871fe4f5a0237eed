"""The broker's state machine: it takes in what happens and returns the messages to send.

``handle(event, now) -> [ToClient or ToWorker, ...]``; no socket, no clock, no thread, no randomness. The
shell around it (``labkit.broker``) and the simulator (``labkit.simulation``) feed it the same events. It
decides which step each message means for which task; its parts do the rest:

* ``task_life``: every step in the life of a task, from submission to its one outcome
* ``admission``: which clients, workers and tasks are taken on
* ``liveness``: which peers are silent or hung
* ``blame``: which task crashed, hung or silenced its worker
* ``deadlock``: which tasks wait for each other for ever
* ``placement``: which task goes to which worker

Rules, each of which the simulation checks (``labkit.simulation.online_checker`` and ``invariants``):

* A worker that says hello again is a new worker; nothing of its former epoch is merged into the new one.
* A result (or failure) counts if its attempt was dispatched to that worker's epoch and the task is still
  open, however late. Any other is counted and dropped, so each task has exactly one visible outcome.
* A task that was in flight at a crash is tried again *carefully*: its worker announces the start and waits
  for ``Go``.
* A task that was running in too many crashed workers is poison, unless workers die as often without it.
* If two workers, one after the other, fell silent while they ran the same task, it is set aside until the
  second one says hello, leaves or disconnects.
* Every open task has a deadline armed: nothing can hang.
* Work is handed out in ``Tick``: messages first, then one round of decisions, then one burst of sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from labkit.core import history as h
from labkit.core.broker.admission import Admission
from labkit.core.broker.blame import Blame, Verdict
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.deadlock import MAX_WAITS, Deadlock
from labkit.core.broker.inputs import (
    Action,
    ClientClosed,
    FromClient,
    FromWorker,
    Input,
    Output,
    Tick,
    ToClient,
    ToWorker,
    WorkerClosed,
)
from labkit.core.broker.liveness import Liveness
from labkit.core.broker.placement import Placement
from labkit.core.broker.policies import Policy
from labkit.core.broker.records import ClientRecord, OpenTask, Route, Worker, worker_id_of
from labkit.core.broker.snapshot import Snapshot, snapshot_of, status_of
from labkit.core.broker.tables import Tables
from labkit.core.broker.task_life import TaskLife
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules


class Scheduler:
    """See the module's head. ``choose`` is a policy's name or function; the rest: see ``Admission``."""

    def __init__(
        self,
        rules: Rules,
        epoch: bytes,
        now: float,
        choose: str | Policy = "least_busy",
        may_use_worker_id: Callable[[Route, str], bool] = lambda _route, _worker: True,
    ) -> None:
        output = Output()
        self.rules, self.epoch = rules, epoch
        self.workers = workers = WorkerTable(rules)
        self.clients = clients = ClientTable()
        self.blame = blame = Blame(rules, now)
        self.life = life = TaskLife(rules, workers, clients, blame, output)
        self.tasks, self.queue = life.tasks, life.queue
        self.liveness = Liveness(rules, workers, clients, blame, output, now)
        self.deadlock = Deadlock(rules, life.tasks, workers, clients, now)
        self.placement = Placement(life.queue, workers, choose, output)
        self.admission = Admission(rules, epoch, life, workers, clients, blame, may_use_worker_id, output)
        self.counters = output.counters
        self.facts: dict[str, Any] = {}  # what the shell adds to ``status``: ports, state of the mirror
        self._actions, self._events = output.actions, output.events
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            FromClient: lambda event, now: self._on_client_message(event.route, event.message, now),
            FromWorker: lambda event, now: self._on_worker_message(event.route, event.message, now),
            ClientClosed: self._on_client_closed,
            WorkerClosed: self._on_worker_closed,
            Tick: self._on_tick,
        }
        self._client_handlers: dict[type, Callable[[ClientRecord, Any, float], None]] = {
            m.Submit: self._on_submit,
            m.Cancel: self._on_cancel,
            m.Note: self._on_note,
            m.Query: self._on_query,
            m.Waits: self._on_waits,
            m.Heartbeat: lambda *_: None,  # its arrival is all that counts
            m.Bulk: self.liveness.announce,
            m.ClientGoodbye: lambda client, _, now: self._forget_client(client, now),
        }
        self._worker_handlers: dict[type, Callable[[Worker, Any, float], None]] = {
            m.Done: self._on_done,
            m.Started: self._on_started,
            m.WorkerError: self._on_worker_error,
            m.Returned: self._on_returned,
            m.Heartbeat: lambda *_: None,  # its arrival is all that counts
            m.Bulk: self.liveness.announce,
            m.Leaving: self._on_leaving,
            m.WorkerGoodbye: lambda worker, _, now: self._lose(worker, "left", now),
        }

    def handle(self, event: Input, now: float) -> list[Action]:
        """Take one event in and return the messages to send, in order."""
        self._handlers[type(event)](event, now)
        if not self._actions:
            return []
        actions = self._actions[:]  # a copy, because all parts append to the one list
        self._actions.clear()
        return actions

    def handle_envelope(
        self, side: type[FromClient | FromWorker], route: Route, messages: Iterable[m.Message], now: float
    ) -> list[Action]:
        """Do what ``handle`` does for each message of one envelope: the broker's hot path."""
        take = self._on_worker_message if side is FromWorker else self._on_client_message
        for message in messages:
            take(route, message, now)
        actions = self._actions[:]
        self._actions.clear()
        return actions

    def take_events(self) -> list[Event]:
        """Return the transitions since the last call, oldest first."""
        events = self._events[:]
        self._events.clear()
        return events

    def next_deadline(self) -> float | None:
        """Return the instant at which a ``Tick`` is due even if nothing arrives; None if there is none."""
        deadline = self.life.deadlines.next_deadline()
        if not len(self.workers) and not len(self.clients):
            return deadline
        due = min(self.liveness.next_look, self.admission.ack_at)
        return due if deadline is None else min(due, deadline)

    # --- clients --------------------------------------------------------------------------------------------

    def _on_client_message(self, route: Route, message: m.Message, now: float) -> None:
        client = self.clients.at(route)
        if client is not None:
            client.last_heard = now
        if type(message) is m.ClientHello:
            self.liveness.peer_arrives(now)
            self.admission.greet_client(route, message, now)
            return
        if client is None:
            if type(message) is not m.ClientGoodbye:
                self.counters["stale_client_messages"] += 1
                self._actions.append(ToClient(route, m.Stale()))
            return
        if client.patience_s and type(message) is not m.Bulk:
            client.patience_s = 0.0
        handler = self._client_handlers.get(type(message))
        if handler is None:
            self.counters["unexpected_messages"] += 1
        else:
            handler(client, message, now)

    def _on_submit(self, client: ClientRecord, submit: m.Submit, now: float) -> None:
        if self.admission.admits(client, submit, now):
            self.life.open(client, submit, now)

    def _on_cancel(self, client: ClientRecord, cancel: m.Cancel, now: float) -> None:
        task = self.tasks.get(cancel.task)
        possible = task is not None and task.client is client and task.started_at is None
        if task is not None and possible:
            self.life.cancel(task, "asked", now)
        self._actions.append(ToClient(client.route, m.CancelReply(cancel.task, int(possible))))

    def _on_note(self, client: ClientRecord, note: m.Note, now: float) -> None:
        self._events.append(Event(now, h.FAULT, "", 0, "", {"fault": note.fault, "target": note.target}))
        self._actions.append(ToClient(client.route, m.Noted(note.number)))

    def _on_query(self, client: ClientRecord, query: m.Query, now: float) -> None:
        info = m.Info(query.number, json.dumps(self.status(now)).encode())
        self._actions.append(ToClient(client.route, info))

    def _on_waits(self, client: ClientRecord, waits: m.Waits, now: float) -> None:
        if len(waits.awaited) % 16:
            self.counters["unexpected_messages"] += 1
        elif not waits.awaited:
            client.waits.pop(waits.task, None)
        elif waits.task in client.waits or len(client.waits) < MAX_WAITS:
            client.waits[waits.task] = waits.attempt, tuple(m.task_ids(waits.awaited))

    def _on_client_closed(self, event: ClientClosed, now: float) -> None:
        client = self.clients.disconnect(event.route)
        if client is not None:
            client.last_heard = now

    def _forget_client(self, client: ClientRecord, now: float) -> None:
        for task in list(client.tasks.values()):
            self.life.cancel(task, "client gone", now)
        self.clients.remove(client)
        self.admission.forget_client(client)

    # --- workers come and go --------------------------------------------------------------------------------

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
            self.liveness.recover(worker, heard_before, now)
            self.life.work_changed = True
        handler = self._worker_handlers.get(type(message))
        if handler is None:
            self.counters["unexpected_messages"] += 1
        else:
            handler(worker, message, now)

    def _on_worker_hello(self, route: Route, hello: m.WorkerHello, now: float) -> None:
        self.liveness.peer_arrives(now)
        # Accepted or not, this process lives.
        self._resolve_silence(self.blame.acquit(hello.instance, self.tasks), "", now)
        if not self.admission.admits_worker(route, hello, now):
            return
        present, here = self.workers.get(hello.worker), self.workers.at(route)
        for former in {id(w): w for w in (present, here) if w is not None}.values():
            if former.epoch == hello.epoch and former.route == route:  # the same hello twice
                self.admission.welcome(former)
                return
            self._lose(former, "rejoined", now)
        instance, epoch, slots, pid, worker_id, stated = hello
        worker = Worker(worker_id, route, instance, epoch, slots, m.capabilities(stated), pid, now)
        self.workers.join(worker)
        self.blame.count_lives(len(self.workers), now)
        self.deadlock.workers_changed(now)
        self.life.work_changed = True
        detail = {"epoch": epoch.hex(), "slots": slots, "capabilities": stated, "pid": pid}
        self._events.append(Event(now, h.JOINED, "", 0, worker_id, detail))
        self.admission.welcome(worker)

    def _on_leaving(self, worker: Worker, _: m.Leaving, now: float) -> None:
        if not worker.draining:
            worker.draining = True
            self.workers.touch(worker)
            self._events.append(Event(now, h.DRAINING, "", 0, worker.id))

    def _on_worker_closed(self, event: WorkerClosed, now: float) -> None:
        key = self.workers.stale.pop(event.route, b"")
        blamed = self.blame.note_crash_of_silent(event.route, self.tasks)
        self._resolve_silence(blamed, worker_id_of(key), now)
        worker = self.workers.at(event.route)
        if worker is not None:
            self._lose(worker, "closed", now)

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        """Remove a worker and requeue its tasks. ``cause``: closed, silent, lease, rejoined, or left."""
        left = cause == "left"
        worker.left_at = now
        # After silence the connection may still stand, and bring messages.
        self.workers.remove(worker, "left" if left else "lost", connected=cause in ("silent", "lease"))
        self.blame.count_lives(len(self.workers), now)
        self.deadlock.workers_changed(now)
        detail = h.NO_DETAIL if left else {"cause": cause}
        self._events.append(Event(now, h.LEFT if left else h.LOST, "", 0, worker.id, detail))
        if cause == "closed":
            self.blame.note_crash(worker)
        elif cause == "silent":
            self.blame.note_silence(worker)
        for task in reversed(list(worker.tasks.values())):  # each goes to the front: the oldest ends up first
            verdict = self.blame.judge(task, self.tasks, now)
            if verdict is Verdict.POISON:
                self.life.fail_poison(task, worker.id, now)
                continue
            wait_s = self.blame.wait_s(task) if cause == "silent" else 0.0
            if verdict is Verdict.WAIT:
                wait_s = max(wait_s, self.rules.dead_s)
            self.life.requeue(task, "left" if left else "lost", now, wait_s)
        worker.tasks.clear()  # the departed are remembered without what they held
        worker.revoked.clear()
        worker.in_flight = 0

    def _resolve_silence(self, tasks: Iterable[OpenTask], worker_id: str, now: float) -> None:
        """Fail or release what ran in a silent worker, now that it is known what became of it."""
        for task in tasks:
            if task.suspect_since is not None:
                continue  # it waits for its verdict, which the next sweep looks at
            if self.blame.judge(task, self.tasks, now, may_wait=False) is Verdict.POISON:
                self.life.revoke(task)
                self.life.fail_poison(task, worker_id, now, "; the last one had fallen silent while it ran")
            elif task.id in self.queue.aside:
                self.life.end_wait(task)

    # --- what workers report --------------------------------------------------------------------------------

    def _on_started(self, worker: Worker, started: m.Started, now: float) -> None:
        task = worker.tasks.get(started.task)
        if task is None or task.attempt != started.attempt:
            self.counters["stale_starts"] += 1
            return
        self.life.start(task, worker, now)
        if started.confirm:
            self._actions.append(ToWorker(worker.route, m.Go(task.id, task.attempt)))

    def _on_done(self, worker: Worker, done: m.Done, now: float) -> None:
        task = worker.tasks.get(done.task)
        if task is None or task.attempt != done.attempt:
            self._on_revoked_answer(worker, done)
            self._on_late_result(worker.key, done, now)
            return
        self.workers.learn(task.job, done.compute_s)
        self.life.finish(task, worker.key, done, now)

    def _on_worker_error(self, worker: Worker, error: m.WorkerError, now: float) -> None:
        task = worker.tasks.get(error.task)
        if task is None or task.attempt != error.attempt:
            self.counters["stale_errors"] += 1
            self._on_revoked_answer(worker, error)
        elif error.code == "HUNG" and not self.blame.note_hang(task, error.attempt):
            self.life.requeue(task, "hung", now)
        else:
            self.life.fail_as_reported(task, error, worker.id, now)

    def _on_returned(self, worker: Worker, returned: m.Returned, now: float) -> None:
        task = worker.tasks.get(returned.task)
        if task is not None and task.attempt == returned.attempt:
            self.life.requeue(task, "returned", now)
        else:
            self._on_revoked_answer(worker, returned)

    def _on_revoked_answer(self, worker: Worker, answer: m.Done | m.WorkerError | m.Returned) -> None:
        """Give a worker its credit back: it answers for an attempt that was taken from it."""
        self.workers.answered(worker, answer.task, answer.attempt)
        self.life.work_changed = True

    def _on_stale_message(self, route: Route, message: m.Message, now: float) -> None:
        """Take a message of a lost worker that woke up, or of one that a former broker knew."""
        key = self.workers.stale.get(route)
        if type(message) is m.Done and key is not None:
            self._on_late_result(key, message, now)
        elif type(message) is m.WorkerError and key is not None:
            self._on_late_error(key, message, now)
        else:
            self.counters["stale_worker_messages"] += 1
        if type(message) is m.WorkerGoodbye:
            self._resolve_silence(self.blame.end_silence(route, self.tasks), "", now)
        else:
            self._actions.append(ToWorker(route, m.Stale()))

    def _on_late_result(self, key: bytes, done: m.Done, now: float) -> None:
        """Take the result of an attempt that was taken from its worker: the first valid one wins."""
        task = self.tasks.get(done.task)
        if task is None or task.holders.get(done.attempt) != key:
            self.counters["duplicates"] += 1
            self._events.append(Event(now, h.DUPLICATE, done.task.hex(), done.attempt, worker_id_of(key)))
            return
        self.life.revoke(task)
        self.life.finish(task, key, done, now)

    def _on_late_error(self, key: bytes, error: m.WorkerError, now: float) -> None:
        """Take the failure of an attempt that was taken from its worker: it counts as a late result does."""
        task = self.tasks.get(error.task)
        if task is None or task.holders.get(error.attempt) != key:
            self.counters["stale_errors"] += 1
        elif error.code != "HUNG" or self.blame.note_hang(task, error.attempt):
            self.life.revoke(task)
            self.life.fail_as_reported(task, error, worker_id_of(key), now)

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, _: Tick, now: float) -> None:
        if self.liveness.notice_oversleep(now):
            self.deadlock.workers_changed(now)
        for task_id in self.life.deadlines.expire(now):
            self.life.expire(self.tasks[task_id], now)
        if self.liveness.is_sweep_due(now):
            self._sweep(now)
        self.admission.send_acks(now)
        if self.life.work_changed:
            self.life.work_changed = False
            for task, worker in self.placement.pairs(now):
                self.life.assign(task, worker, now)
        self.liveness.beat(now)

    def _sweep(self, now: float) -> None:
        for worker, cause in self.liveness.sweep_workers(now):
            if cause == "lease":
                self.life.fail_hung(worker, now)
            self._lose(worker, cause, now)
        for task in list(self.queue.aside.values()):
            self._end_wait(task, now)
        for client in self.liveness.gone_clients(now):
            self._forget_client(client, now)
        hopeless, misplaced = self.deadlock.look(now)
        self.life.work_changed |= self.deadlock.room_changed
        for task in misplaced:
            self.life.take_back(task, now)
        for task in hopeless:
            worker_id = "" if task.worker is None else task.worker.id
            self.life.revoke(task)
            why = "tasks that wait for other tasks of this cluster occupy all its workers"
            self.life.fail(task, "DEADLOCK", worker_id, why, now)

    def _end_wait(self, task: OpenTask, now: float) -> None:
        """End the wait of a task that was set aside, if it is over: release the task, or find it guilty."""
        if task.suspect_since is None:
            if now >= task.release_at:
                self.life.end_wait(task)
            return
        verdict = self.blame.judge(task, self.tasks, now)
        if verdict is Verdict.POISON:
            self.life.fail_poison(task, worker_id_of(task.holders[task.attempt]), now)
        elif verdict is Verdict.TRY_AGAIN:
            self.life.end_wait(task)

    # --- views of its state ---------------------------------------------------------------------------------

    def snapshot(self, now: float) -> Snapshot:
        """Return what the Redis mirror shows: every worker, those gone included, and the queue."""
        return snapshot_of(self.tables(), now)

    def status(self, now: float) -> dict[str, Any]:
        """Return the state of the broker and its cluster, ready for JSON; all ages in seconds."""
        own = {"epoch": self.epoch.hex(), **status_of(self.tables(), now)}
        return {**own, "counters": dict(self.counters), **self.facts}

    def tables(self) -> Tables:
        """Return a read-only view of all tables."""
        life, silent = self.life, self.blame.silent
        return Tables(self.rules, life.tasks, life.queue, self.workers, self.clients, life.deadlines, silent)
