"""The online checker: follows the broker's history with a model of its own and judges every event at once.

It believes neither the scheduler nor the sessions. From the published transitions it keeps a model of tasks
and workers (``model.py``) and compares it with the scheduler's tables after every single event. What really
happened (which process died while it computed what, which message reached the broker when) it reads from the
simulated world (``ground_truth.py``). At short intervals, and after every event if ``thorough``, it also
checks the scheduler's tables from end to end (``invariants.py``).

Transitions are judged by ``task_checker.py`` and ``worker_checker.py``; here is what holds for every event.
Each method ``_judge_...`` and each handler of a transition is one of the promises; its docstring says which,
with the number of the list in docs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from labkit.core.broker.inputs import Action, ClientClosed, FromClient, FromWorker, Input, Tick
from labkit.core.broker.records import Route
from labkit.core.broker.tables import Tables
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.simulation.broker import Garbage
from labkit.simulation.invariants import broken, fingerprint
from labkit.simulation.model import Model
from labkit.simulation.observation import Observation
from labkit.simulation.task_checker import Answer, TaskChecker
from labkit.simulation.worker_checker import WorkerChecker

WHOLE_CHECK_EVERY: Final = 8
"""After so many events the tables are compared as a whole, if the run is not thorough."""
SLACK_S: Final = 0.1
"""What the broker's turns and the timers' ticks may add to a period."""


class OnlineChecker:
    """See the module's head. ``every`` = 1 is thorough."""

    def __init__(self, seen: Observation, least_busy: bool, every: int = WHOLE_CHECK_EVERY) -> None:
        self._seen = seen
        self._every = every
        self._events = 0
        self._before: tuple[object, ...] | None = None  # the tables before garbage came
        self._read_tables: Callable[[], Tables]
        self._handlers = TaskChecker(seen, least_busy).handlers | WorkerChecker(seen).handlers

    def broker_started(self, read_tables: Callable[[], Tables]) -> None:
        """A broker starts and knows nothing: so the model begins anew, too."""
        self._read_tables = read_tables
        self._before = None
        self._seen.tables = read_tables()
        self._seen.model = Model(self._seen.loop.now)

    # --- round every event ----------------------------------------------------------------------------------

    def before(self, event: Input | Garbage) -> None:
        """The scheduler is about to handle this event."""
        seen, model = self._seen, self._seen.model
        if isinstance(event, Garbage):
            model.event = event.event
            self._before = fingerprint(self._read_tables())
            return
        model.event = event
        if type(event) is Tick:
            now = seen.loop.now
            if now - model.last_tick > seen.rules.heartbeat_s / 4 + SLACK_S / 2:
                model.awake_since = now  # it slept, though perhaps too short to notice
            model.last_tick = now
        elif type(event) is FromClient and type(event.message) is m.ClientHello:
            model.client_routes[event.message.name] = event.route
        elif type(event) is ClientClosed:
            for name, route in model.client_routes.items():
                if route == event.route:
                    model.client_routes[name] = None
        elif type(event) is FromWorker and isinstance(event.message, Answer):
            self._answered(event.route, event.message.task.hex(), event.message.attempt)

    def _answered(self, route: Route, task: str, attempt: int) -> None:
        """A worker answers for an attempt: if that was taken from it, it has room again."""
        model = self._seen.model
        for name, worker in model.workers.items():
            if worker.route == route:
                known = model.tasks.get(task)
                if known is None or (known.worker, known.attempt) != (name, attempt):
                    worker.revoked.discard((task, attempt))

    def after(self, event: Input | Garbage, events: list[Event]) -> None:
        """The scheduler has handled the event, and published these transitions."""
        self._seen.tables = self._read_tables()
        for transition in events:
            handler = self._handlers.get(transition.kind)
            if handler is not None:
                handler(transition)
        self._judge_counts()
        if self._before is not None:
            self._judge_garbage(self._before)
        if type(event) is Tick:
            self._judge_detection()
        self._events += 1
        if self._events % self._every == 0:
            self._judge_all_tables()

    def check_everything(self) -> None:
        """Compare all tables from end to end, as they are now."""
        self._seen.tables = self._read_tables()
        self._judge_all_tables()

    def _judge_all_tables(self) -> None:
        seen = self._seen
        for invariant, why in broken(seen.tables, seen.loop.now):
            seen.violated(invariant, why)
        open_tasks = {task.hex for task in seen.tables.tasks.values()}
        why = "tables and history name different open tasks"
        seen.demand(open_tasks == seen.model.tasks.keys(), "conservation", why)

    # --- what holds for every event -------------------------------------------------------------------------

    def _judge_counts(self) -> None:
        """1, 4: after each event the tables hold as many tasks, in each place, as the history says."""
        seen, tables, model = self._seen, self._seen.tables, self._seen.model
        in_tables = len(tables.tasks), len(tables.queue)
        in_history = len(model.tasks), model.queued
        why = "(open, queued) is {}, but {} in the history"
        seen.demand(in_tables == in_history, "conservation", why, in_tables, in_history)
        seen.demand(not model.orphans, "requeue", "{} were neither requeued nor ended", list(model.orphans))
        for worker in tables.workers:
            known = model.workers.get(worker.id)
            if known is None or worker.in_flight != known.in_flight:
                expected = "no such worker" if known is None else known.in_flight
                why = f"{worker.id} has {worker.in_flight} in flight, but in the history {expected}"
                seen.violated("in_flight", why)

    def wants_sent(self, actions: list[Action]) -> None:
        """1, 5: clients that are there receive each outcome; a task goes to its worker's connection.

        These are the messages that come of one event, or of all the messages of one envelope.
        """
        reported: set[str] = set()
        for action in actions:
            message = action.message
            if type(message) is m.Result or type(message) is m.Failed:
                reported.add(message.task.hex())
            elif type(message) is m.Task:
                self._judge_address(action.route, message)
            elif type(message) is m.WorkerWelcome:
                self._welcomed(action.route, message)
        model = self._seen.model
        ended, model.ended = model.ended, []
        for task in ended:
            why = "task {} ended, and its client received nothing"
            self._seen.demand(task in reported, "conservation", why, task)

    def _judge_address(self, route: Route, message: m.Task) -> None:
        model = self._seen.model
        name, attempt = message.task.hex(), message.attempt
        task = model.tasks.get(name)
        worker = model.workers.get(task.worker) if task is not None and task.attempt == attempt else None
        self._seen.demand(
            worker is not None and worker.route == route,
            "current_epoch", "attempt {} of task {} was sent elsewhere than the history says", attempt, name,
        )  # fmt: skip

    def _welcomed(self, route: Route, message: m.WorkerWelcome) -> None:
        model, epoch = self._seen.model, message.worker_epoch.hex()
        model.epoch_of[route] = epoch
        for worker in model.workers.values():
            if worker.epoch == epoch:
                worker.route = route

    def _judge_garbage(self, before: tuple[object, ...]) -> None:
        """10: garbage and stale messages change counters only."""
        seen, self._before = self._seen, None
        why = "{} changed the tables"
        seen.demand(before == fingerprint(seen.tables), "garbage", why, seen.model.event)

    def _judge_detection(self) -> None:
        """Fault table: a worker that is silent for longer than ``dead_s`` is not counted as alive."""
        seen, r = self._seen, self._seen.rules
        limit_s = r.dead_s + r.heartbeat_s / 4 + SLACK_S
        for worker in seen.tables.workers:
            connection = seen.connections.get(worker.route)
            if connection is not None:
                heard_at = max(connection.last_arrival, seen.model.awake_since)
                silent_s = seen.loop.now - heard_at - worker.patience_s
                if silent_s > limit_s:
                    why = f"{worker.id} is silent for {silent_s:.2f} s and counts as alive"
                    seen.violated("detection", why)
