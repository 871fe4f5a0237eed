"""Admission: which clients, workers and tasks the broker takes on, and how it answers each of them.

Part of the scheduler; only the scheduler imports it. Rules:

* Every table has a bound. A peer or task beyond it is refused with the reason; a client also learns when to
  retry.
* A task that is known already is acknowledged, not opened twice; a task with a verdict gets the verdict.
* A task that no worker could ever match fails at once; all other refusals are temporary.
* Acknowledgements wait ``ack_delay_s`` for company. A task that ended meanwhile needs none, because its
  outcome has been sent.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.core import history as h
from labkit.core.broker.blame import Blame
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.inputs import Output, ToClient, ToWorker
from labkit.core.broker.records import ClientRecord, Route, Worker
from labkit.core.broker.task_life import TaskLife
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.history import Event
from labkit.core.names import MAX_ID, NAME_RULE, is_label, is_name, without_controls
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import MAX_NAME, MAX_SLOTS, Rules

MAX_LANES = 1024
BAD_LABEL = f"a client's name is one visible line of at most {MAX_ID} characters"
MAX_NEEDS = 1024


class Admission:
    """See the module's head.

    ``may_use_worker_id(route, id)`` returns whether the peer at that connection may use that worker id; it is
    called at each hello of a worker. The shell knows which key the peer presented.
    """

    def __init__(
        self,
        rules: Rules,
        epoch: bytes,
        life: TaskLife,
        workers: WorkerTable,
        clients: ClientTable,
        blame: Blame,
        may_use_worker_id: Callable[[Route, str], bool],
        output: Output,
    ) -> None:
        self._rules = rules
        self._epoch = epoch
        self._tasks = life.tasks
        self._queue = life.queue
        self._workers = workers
        self._clients = clients
        self._blame = blame
        self._may_use_worker_id = may_use_worker_id
        self._actions = output.actions
        self._events = output.events
        self._counters = output.counters
        self._to_ack: dict[bytes, ClientRecord] = {}
        self._ack_at = 0.0

    # --- clients --------------------------------------------------------------------------------------------

    def greet_client(self, route: Route, hello: m.ClientHello, now: float) -> None:
        """Welcome a new or returning client, or refuse it: too many, or a name that cannot be shown."""
        rules = self._rules
        if self._clients.get(hello.client) is None and len(self._clients) >= rules.max_clients:
            self._counters["refused_clients"] += 1
            refused = m.Refused(rules.busy_retry_s, "too many clients", b"")
            self._actions.append(ToClient(route, refused))
            return
        if not is_label(hello.name):
            self._counters["refused_clients"] += 1
            self._actions.append(ToClient(route, m.Refused(rules.busy_retry_s, BAD_LABEL, b"")))
            return
        self._clients.join(hello.client, hello.name, route, now)
        welcome = m.ClientWelcome(
            self._epoch,
            rules.heartbeat_s,
            rules.broker_gone_s,
            rules.max_client_tasks,
            rules.max_client_bytes,
        )
        self._actions.append(ToClient(route, welcome))

    def forget_client(self, client: ClientRecord) -> None:
        """Drop the acknowledgements that this client was to get."""
        self._to_ack.pop(client.id, None)

    # --- tasks ----------------------------------------------------------------------------------------------

    def admits(self, client: ClientRecord, submit: m.Submit, now: float) -> bool:
        """Return whether this task is to be opened; if not, the client gets its answer."""
        task_id = submit.task
        known = self._tasks.get(task_id)
        if known is not None:
            if known.client is client:  # submitted again after a reconnect
                self._acknowledge(client, task_id, now)
            else:
                self._refuse(client, task_id, "another client's task has this id", now)
            return False
        verdict = self._blame.verdict(task_id)
        if verdict is not None:  # the client did not receive it, or it would not ask again
            self._actions.append(ToClient(client.route, verdict))
            return False
        rules, size = self._rules, submit.payload.size
        if (
            len(self._tasks) >= rules.max_queued_tasks
            or self._clients.open_bytes + size > rules.max_queued_bytes
        ):
            self._refuse(client, task_id, "the broker's queue is full", now)
            return False
        if len(client.tasks) >= rules.max_client_tasks or client.bytes + size > rules.max_client_bytes:
            self._refuse(client, task_id, "this client has used up its quota", now)
            return False
        if len(submit.needs) > MAX_NEEDS:
            why = "no worker has so many capabilities"
            failed = m.Failed(task_id, 0, "NO_WORKER", "", why, m.EMPTY)
            self._actions.append(ToClient(client.route, failed))
            return False
        lanes = self._queue.lanes
        if len(lanes) >= MAX_LANES and m.capabilities(submit.needs) not in lanes:
            self._refuse(client, task_id, "too many different sets of capabilities are waiting", now)
            return False
        self._acknowledge(client, task_id, now)
        return True

    def _refuse(self, client: ClientRecord, task_id: bytes, reason: str, now: float) -> None:
        self._counters["refused_tasks"] += 1
        if client.refused_at != now:  # one event per client and turn, even in a flood
            client.refused_at = now
            self._events.append(Event(now, h.REJECTED, task_id.hex(), 0, "", {"reason": reason}))
        refused = m.Refused(self._rules.busy_retry_s, reason, task_id)
        self._actions.append(ToClient(client.route, refused))

    # --- acknowledgements -----------------------------------------------------------------------------------

    @property
    def ack_at(self) -> float:
        """When the waiting acknowledgements are due; infinite if there are none."""
        return self._ack_at if self._to_ack else float("inf")

    def _acknowledge(self, client: ClientRecord, task_id: bytes, now: float) -> None:
        if not self._to_ack:
            self._ack_at = now + self._rules.ack_delay_s
        client.acks.append(task_id)
        self._to_ack[client.id] = client

    def send_acks(self, now: float) -> None:
        """Send the acknowledgements that are due, for tasks that are still open."""
        if not self._to_ack or now < self._ack_at:
            return
        for client in self._to_ack.values():
            still_open = b"".join([task_id for task_id in client.acks if task_id in client.tasks])
            if still_open and client.route is not None:
                self._actions.append(ToClient(client.route, m.Accepted(still_open)))
            client.acks.clear()
        self._to_ack.clear()

    # --- workers --------------------------------------------------------------------------------------------

    def admits_worker(self, route: Route, hello: m.WorkerHello, now: float) -> bool:
        """Return whether this worker may join; if not, it is sent the reason."""
        reason = self._worker_refusal(route, hello)
        if not reason:
            return True
        self._counters["refused_workers"] += 1
        name = without_controls(hello.worker[:MAX_NAME], lines=False)
        self._events.append(Event(now, h.REFUSED, "", 0, name, {"reason": reason}))
        self._actions.append(ToWorker(route, m.WorkerRefused(reason)))
        return False

    def _worker_refusal(self, route: Route, hello: m.WorkerHello) -> str:
        present = self._workers.get(hello.worker)
        if not hello.worker or not 1 <= hello.slots <= MAX_SLOTS:
            return f"a worker needs an id and 1 to {MAX_SLOTS} slots"
        if len(hello.worker) > MAX_NAME or len(hello.capabilities) > MAX_NEEDS:
            return "its name or its list of capabilities is too long"
        if not is_name(hello.worker):
            return f"its id is not a name: {NAME_RULE}"
        if not all(is_label(word) for word in m.capabilities(hello.capabilities)):
            return "a capability is too long, or has control characters"
        if not self._may_use_worker_id(route, hello.worker):
            return f"its key is not one of {hello.worker}"
        if present is not None and present.instance != hello.instance:
            return f"another worker is called {hello.worker}"
        if present is None and len(self._workers) >= self._rules.max_workers:
            return "too many workers"
        return ""

    def welcome(self, worker: Worker) -> None:
        """Answer a worker's hello."""
        rules = self._rules
        welcome = m.WorkerWelcome(self._epoch, worker.epoch, rules.heartbeat_s, rules.broker_gone_s)
        self._actions.append(ToWorker(worker.route, welcome))
