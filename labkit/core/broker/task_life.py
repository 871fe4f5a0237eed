"""The life of a task: every step from its submission to its one outcome.

Part of the scheduler; only the scheduler imports it. The scheduler decides that a step happens; this module
takes it: it changes the tables, sends the messages and publishes the transition, so that the tables agree
after every step::

    (start)  -> queued     submitted
    queued   -> assigned   dispatched
    assigned -> queued     requeued (its worker was lost, left, hung, or returned it)
    assigned -> done       done
    assigned -> failed     failed (ERROR, HUNG, POISONED, or DEADLINE)
    assigned -> cancelled  cancelled
    queued   -> done       done (a late result)
    queued   -> failed     failed (DEADLINE, NO_WORKER, POISONED, or a late error)
    queued   -> cancelled  cancelled

Rules:

* An open task is in exactly one place: in the queue, or with one worker.
* A task that ends leaves every table, and its client is sent exactly one outcome.
* A task that is taken from a living worker stays charged to it until the worker answers.
"""

from __future__ import annotations

from labkit.core import history as h
from labkit.core.broker.blame import Blame
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.inputs import Output, ToClient, ToWorker
from labkit.core.broker.records import ClientRecord, OpenTask, State, Worker, worker_id_of
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.deadlines import Deadlines
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import MAX_NAME, Rules
from labkit.core.transitions import START, Transitions

TRANSITIONS: Transitions = {
    (START, "queued"): "submitted",
    ("queued", "assigned"): "dispatched",
    ("assigned", "queued"): "requeued (its worker was lost, left, hung, or returned it)",
    ("assigned", "done"): "done",
    ("assigned", "failed"): "failed (ERROR, HUNG, POISONED, or DEADLINE)",
    ("assigned", "cancelled"): "cancelled",
    ("queued", "done"): "done (a late result)",
    ("queued", "failed"): "failed (DEADLINE, NO_WORKER, POISONED, or a late error)",
    ("queued", "cancelled"): "cancelled",
}
"""The states of a task, with the events of the history. A task that has ended is in no table."""

MAX_ERROR_IN_HISTORY = 200
"""Characters of an error that its transition keeps; the client gets all of it."""
MIN_LEASE_S = 0.1
"""With less, a worker would leave because the thread that computes was slow to wake up."""
_ANYTHING: frozenset[str] = frozenset()


class TaskLife:
    """See the module's head. ``work_changed``: since the last dispatch, a task was queued or a worker has
    room.
    """

    def __init__(
        self, rules: Rules, workers: WorkerTable, clients: ClientTable, blame: Blame, output: Output
    ) -> None:
        self.tasks: dict[bytes, OpenTask] = {}
        self.queue = TaskQueue()
        self.deadlines = Deadlines()
        self.work_changed = False
        self._rules = rules
        self._workers = workers
        self._clients = clients
        self._blame = blame
        self._actions = output.actions
        self._events = output.events

    # --- open -----------------------------------------------------------------------------------------------

    def open(self, client: ClientRecord, submit: m.Submit, now: float) -> None:
        """Queue a new task of this client."""
        task_id, budget_s, lease_s, job, needs, payload = submit
        most_s = self._rules.task_deadline_s
        budget_s = budget_s if 0 < budget_s < most_s else most_s
        # The lease is not cut down to the budget: a task that is merely late must not cost its worker.
        lease_s = max(lease_s if 0 < lease_s < most_s else self._rules.lease_s, MIN_LEASE_S)
        job = job[:MAX_NAME]
        wanted = m.capabilities(needs) if needs else _ANYTHING
        task = OpenTask(task_id, client, job, wanted, lease_s, now + budget_s, payload, now)
        self.tasks[task_id] = client.tasks[task_id] = task
        size = task.size
        client.bytes += size
        self._clients.open_bytes += size
        task.tick = self.deadlines.arm(task_id, task.deadline)
        self.queue.push(task)
        self.work_changed = True
        detail: dict[str, str | int] = {"job": job, "client": client.name, "bytes": size}
        if needs:
            detail["needs"] = needs
        self._events.append(m.new(Event, (now, h.SUBMITTED, task.hex, 0, "", detail)))

    # --- to a worker and back -------------------------------------------------------------------------------

    def assign(self, task: OpenTask, worker: Worker, now: float) -> None:
        """Send a task that has left the queue to a worker, as its next attempt."""
        task.attempt += 1
        task.state = State.ASSIGNED
        task.worker = worker
        self._workers.dispatched(worker, task)
        self._events.append(m.new(Event, (now, h.DISPATCHED, task.hex, task.attempt, worker.id, h.NO_DETAIL)))
        if task.size > m.BULK_BYTES:
            self._actions.append(ToWorker(worker.route, m.Bulk(task.size)))
        fields = (task.id, task.attempt, task.lease_s, int(task.careful), task.payload)
        self._actions.append(m.new(ToWorker, (worker.route, m.new(m.Task, fields))))

    def start(self, task: OpenTask, worker: Worker, now: float) -> None:
        """Record that the current attempt runs, and report it to the client."""
        if task.started_at is None:
            task.started_at = now
            self._events.append(Event(now, h.STARTED, task.hex, task.attempt, worker.id))
            if task.client.route is not None:
                running = m.Running(task.id, task.attempt, worker.id)
                self._actions.append(ToClient(task.client.route, running))

    def requeue(self, task: OpenTask, cause: str, now: float, wait_s: float = 0.0) -> None:
        """Put an assigned task back to the front of the queue, or set it aside for ``wait_s``."""
        worker = task.worker
        assert worker is not None
        task.holders[task.attempt] = worker.key
        self._release(task)
        task.state = State.QUEUED
        detail: dict[str, str | float] = {"cause": cause}
        if task.suspect_since is not None:
            detail["crashes"] = task.crashes
        if wait_s:
            detail["wait_s"] = round(wait_s, 3)
            self.queue.set_aside(task, now + wait_s)
        else:
            self.queue.push(task, front=True)
            self.work_changed = True
        self._events.append(Event(now, h.REQUEUED, task.hex, task.attempt, worker.id, detail))

    def take_back(self, task: OpenTask, now: float) -> None:
        """Take a task that has not started from a worker that cannot start it; another one may have it."""
        worker = task.worker
        assert worker is not None
        task.holders[task.attempt] = worker.key
        self.revoke(task)
        task.state = State.QUEUED
        self.queue.push(task, front=True)
        self.work_changed = True
        self._events.append(Event(now, h.REQUEUED, task.hex, task.attempt, worker.id, {"cause": "returned"}))

    def end_wait(self, task: OpenTask) -> None:
        """Let a task that was set aside be the next one in the queue."""
        self.queue.release(task)
        self.work_changed = True

    def revoke(self, task: OpenTask) -> None:
        """Take a task that is about to end from the worker that has it, if any."""
        worker = task.worker
        if worker is not None:
            self._actions.append(ToWorker(worker.route, m.Revoke(task.id, task.attempt)))
            self._workers.revoked(worker, task)
            task.worker = None

    def _release(self, task: OpenTask) -> None:
        """Separate an assigned task from its worker, which gets its credit back if it lives."""
        worker = task.worker
        assert worker is not None
        if self._workers.get(worker.id) is worker:
            self._workers.released(worker, task)
            self.work_changed = True
        task.worker = None
        task.started_at = None

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self, task: OpenTask, key: bytes, done: m.Done, now: float) -> None:
        """End a task with the result of the worker (id and epoch) with this ``key``."""
        worker_id = worker_id_of(key)
        worker = self._workers.get(worker_id)
        if worker is not None and worker.key == key:
            worker.completed += 1
        self.end(task)
        task_id, attempt, compute_s, payload = done
        size = payload.size
        detail = {"compute_s": round(compute_s, 6), "bytes": size}
        self._events.append(m.new(Event, (now, h.DONE, task.hex, attempt, worker_id, detail)))
        route = task.client.route
        if route is not None:
            if size > m.BULK_BYTES:
                self._actions.append(ToClient(route, m.Bulk(size)))
            result = m.new(m.Result, (task_id, attempt, compute_s, worker_id, payload))
            self._actions.append(m.new(ToClient, (route, result)))

    def cancel(self, task: OpenTask, cause: str, now: float) -> None:
        """End a task as cancelled, wherever it is."""
        self._blame.note_unknown(task)
        self.revoke(task)
        self.end(task)
        self._events.append(Event(now, h.CANCELLED, task.hex, task.attempt, "", {"cause": cause}))

    def expire(self, task: OpenTask, now: float) -> None:
        """End a task whose deadline has come."""
        self._blame.note_unknown(task)
        if task.state is State.QUEUED and not self._workers.any_can(task.needs):
            wanted = ",".join(sorted(task.needs)) or "any task"
            self.fail(task, "NO_WORKER", "", f"no living worker can do {wanted}", now)
            return
        worker_id = task.worker.id if task.worker else ""
        self.revoke(task)
        self.fail(task, "DEADLINE", worker_id, "it was not done in time", now)

    def fail_as_reported(self, task: OpenTask, error: m.WorkerError, worker_id: str, now: float) -> None:
        """End a task with the error that a worker reported for one of its attempts."""
        code = "HUNG" if error.code == "HUNG" else "ERROR"
        self.fail(task, code, worker_id, error.error, now, error.payload, error.attempt)

    def fail_poison(self, task: OpenTask, worker_id: str, now: float, how: str = "") -> None:
        """End a task that has crashed too many workers."""
        detail = {"crashes": task.crashes}
        self._events.append(Event(now, h.POISONED, task.hex, task.attempt, worker_id, detail))
        self.fail(task, "POISONED", worker_id, f"it crashed {task.crashes} workers{how}", now)

    def fail_hung(self, worker: Worker, now: float) -> None:
        """End those tasks of a worker that have hung too often; the others stay with it."""
        for task in list(worker.tasks.values()):
            if self._blame.is_hung(task, now) and self._blame.note_hang(task, task.attempt):
                self.fail(task, "HUNG", worker.id, "it outran its lease", now)

    def fail(
        self,
        task: OpenTask,
        code: str,
        worker_id: str,
        error: str,
        now: float,
        payload: m.Payload = m.EMPTY,
        attempt: int = 0,
    ) -> None:
        """End a task with a failure; ``code`` is one of ``messages.FAILURE_CODES``."""
        attempt = attempt or task.attempt
        self.end(task)
        detail = {"code": code, "error": error[:MAX_ERROR_IN_HISTORY]}
        self._events.append(Event(now, h.FAILED, task.hex, attempt, worker_id, detail))
        failed = m.Failed(task.id, attempt, code, worker_id, error, payload)
        self._blame.record(failed)
        if task.client.route is not None:
            self._actions.append(ToClient(task.client.route, failed))

    def end(self, task: OpenTask) -> None:
        """Take a task out of every table; the caller reports its outcome."""
        if task.state is State.QUEUED:
            self.queue.remove(task)
        elif task.worker is not None:
            self._release(task)
        del self.tasks[task.id]
        del task.client.tasks[task.id]
        size = task.size
        task.client.bytes -= size
        self._clients.open_bytes -= size
        self.deadlines.disarm(task.id, task.tick)
