"""A witness of one run: follows the broker's history with tables of its own and judges every event at once.

It believes neither the scheduler nor the sessions. From the published transitions it keeps its own picture of
tasks and workers, small enough to be compared with the scheduler's after every single event; what really
happened (who died computing what, which message reached the broker when) it knows from the simulated world.
At short intervals, and after every event if ``thorough``, it also checks the scheduler's tables from end to
end (``invariants.py``).

Each method ``_judge_...`` and each handler of an event is one of the promises; its docstring says which, with
the number of the list in the project's reliability notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from labkit.core import history as h
from labkit.core.broker.inputs import ClientClosed, FromClient, FromWorker, Tick, ToWorker
from labkit.core.broker.tables import Tables
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.ground_truth import Truth
from labkit.simulation.invariants import broken, fingerprint
from labkit.simulation.loop import Loop
from labkit.simulation.model import ASSIGNED, QUEUED, Broken, Hand, Seen, Violation
from labkit.simulation.network import Connection
from labkit.simulation.work import Work

WHOLE_CHECK_EVERY: Final = 8
"""After so many events the tables are compared as a whole, if the run is not thorough."""
SLACK_S: Final = 0.1
"""What the broker's turns and the timers' ticks may add to a period."""
ANSWERS: Final = frozenset({m.Done, m.WorkerError, m.Returned})
_NOTHING: Final[frozenset[str]] = frozenset()


class Witness:
    """See the module's head. ``connections`` are the broker's, by route; ``every`` = 1 is thorough."""

    def __init__(self, rules: Rules, works: Mapping[bytes, Work], truth: Truth, loop: Loop) -> None:
        self._rules = rules
        self._works = works
        self._truth = truth
        self._loop = loop
        self.connections: Mapping[Any, Connection] = {}
        self.every = WHOLE_CHECK_EVERY
        self.least_busy = False  # whether that is the policy
        self._event: Any = None
        self._steps = 0
        self._handlers: dict[str, Callable[[Event], None]] = {
            h.SUBMITTED: self._submitted, h.DISPATCHED: self._dispatched, h.STARTED: self._started,
            h.DONE: self._done, h.FAILED: self._failed, h.REQUEUED: self._requeued,
            h.POISONED: self._poisoned, h.CANCELLED: self._cancelled, h.JOINED: self._joined,
            h.SUSPECT: self._suspect, h.ALIVE: self._alive, h.DRAINING: self._draining, h.LOST: self._lost,
            h.LEFT: self._left,
        }  # fmt: skip

    def broker_started(self, read_tables: Callable[[], Tables]) -> None:
        """A broker that knows nothing: so this begins anew, too."""
        self._read_tables = read_tables
        self._tables = read_tables()
        self._awake_since = self._loop.now
        self._last_tick = self._loop.now
        self._open_tasks: dict[str, Seen] = {}
        self._queued = 0
        self._hands: dict[str, Hand] = {}
        self._epochs: set[str] = set()
        self._epoch_of: dict[Any, str] = {}  # route -> epoch of its latest worker
        self._client_routes: dict[str, Any] = {}
        self._in_turn: dict[tuple[str, frozenset[str]], int] = {}
        self._verdicts: set[str] = set()  # tasks that this broker has found to be poison
        self._number = 0
        self._ended: list[str] = []
        self._orphans: dict[str, Hand] = {}
        self._before: tuple[object, ...] | None = None

    def blame(self, invariant: str, why: str) -> NoReturn:
        """Report a violation; it ends the run."""
        raise Broken(Violation(invariant, self._loop.now, why))

    def _demand(self, condition: object, invariant: str, why: str, *about: Any) -> None:
        if not condition:
            self.blame(invariant, why.format(*about))

    # --- round every event ----------------------------------------------------------------------------------

    def before(self, event: Any) -> None:
        """The scheduler is about to handle this event."""
        self._event = event
        if type(event) is Tick:
            now = self._loop.now
            if now - self._last_tick > self._rules.heartbeat_s / 4 + SLACK_S / 2:
                self._awake_since = now  # it slept, though perhaps too short to notice
            self._last_tick = now
        elif type(event) is FromClient and type(event.message) is m.ClientHello:
            self._client_routes[event.message.name] = event.route
        elif type(event) is ClientClosed:
            for name, route in self._client_routes.items():
                if route == event.route:
                    self._client_routes[name] = None
        elif type(event) is FromWorker and isinstance(event.message, m.Done | m.WorkerError | m.Returned):
            self._answered(event.route, event.message.task.hex(), event.message.attempt)
        elif hasattr(event, "event"):
            self._event = event.event
            self._before = fingerprint(self._read_tables())

    def _answered(self, route: Any, name: str, attempt: int) -> None:
        """A worker answers for an attempt: if that was taken from it, it has room again."""
        for worker, hand in self._hands.items():
            if hand.route == route:
                seen = self._open_tasks.get(name)
                if seen is None or (seen.worker, seen.attempt) != (worker, attempt):
                    hand.revoked.discard((name, attempt))

    def after(self, event: Any, actions: list[Any], events: list[Event]) -> None:
        """The scheduler handled the event: it wants these actions and published these transitions."""
        self._tables = self._read_tables()
        for transition in events:
            handler = self._handlers.get(transition.kind)
            if handler is not None:
                handler(transition)
        self._judge_messages(actions)
        self._judge_counts()
        if self._before is not None:
            self._judge_garbage()
        if type(event) is Tick:
            self._judge_detection()
        self._steps += 1
        if self._steps % self.every == 0:
            self.check_everything()

    def check_everything(self) -> None:
        """Compare all tables from end to end."""
        self._tables = self._read_tables()
        for invariant, why in broken(self._tables, self._loop.now):
            self.blame(invariant, why)
        open_tasks = {task.hex for task in self._tables.tasks.values()}
        self._demand(
            open_tasks == self._open_tasks.keys(),
            "conservation",
            "tables and history name different open tasks",
        )

    def _judge_counts(self) -> None:
        """1, 4: after each event the tables hold as many tasks, in each place, as the history says."""
        tables = self._tables
        self._demand(
            len(tables.tasks) == len(self._open_tasks) and len(tables.queue) == self._queued,
            "conservation", "{} open, {} of them queued, but the history tells of {} and {}",
            len(tables.tasks), len(tables.queue), len(self._open_tasks), self._queued,
        )  # fmt: skip
        self._demand(not self._orphans, "requeue", "{} were neither requeued nor ended", list(self._orphans))
        for worker in tables.workers:
            hand = self._hands.get(worker.id)
            if hand is None or worker.in_flight != hand.in_flight:
                self.blame("in_flight", f"{worker.id} has {worker.in_flight}, which the history does not say")

    def _judge_messages(self, actions: list[Any]) -> None:
        """1, 5: outcomes are told to clients that are there; tasks go to their worker's connection."""
        told: set[str] = set()
        for action in actions:
            message = action.message
            kind = type(message)
            if kind is m.Result or kind is m.Failed:
                told.add(message.task.hex())
            elif kind is m.Task:
                self._judge_address(action)
            elif kind is m.WorkerWelcome:
                self._welcomed(action)
        ended, self._ended = self._ended, []
        for name in ended:
            self._demand(name in told, "conservation", "task {} ended, and its client was not told", name)

    def _judge_address(self, action: ToWorker) -> None:
        assert type(action.message) is m.Task
        name, attempt = action.message.task.hex(), action.message.attempt
        seen = self._open_tasks.get(name)
        hand = self._hands.get(seen.worker) if seen is not None and seen.attempt == attempt else None
        self._demand(
            hand is not None and hand.route == action.route,
            "current_epoch", "attempt {} of task {} was sent elsewhere than the history says", attempt, name,
        )  # fmt: skip

    def _welcomed(self, action: ToWorker) -> None:
        assert type(action.message) is m.WorkerWelcome
        epoch = action.message.worker_epoch.hex()
        self._epoch_of[action.route] = epoch
        for hand in self._hands.values():
            if hand.epoch == epoch:
                hand.route = action.route

    def _judge_garbage(self) -> None:
        """10: garbage and stale messages change counters only."""
        before, self._before = self._before, None
        self._demand(before == fingerprint(self._tables), "garbage", "{} changed the tables", self._event)

    def _judge_detection(self) -> None:
        """Fault table: who is silent for longer than ``dead_s`` is not counted among the living."""
        now, r = self._loop.now, self._rules
        limit_s = r.dead_s + r.heartbeat_s / 4 + SLACK_S
        for worker in self._tables.workers:
            connection = self.connections.get(worker.route)
            if connection is not None:
                silent_s = now - max(connection.last_arrival, self._awake_since) - worker.patience_s
                if silent_s > limit_s:
                    self.blame("detection", f"{worker.id} is silent for {silent_s:.2f} s and counts as alive")

    # --- tasks ----------------------------------------------------------------------------------------------

    def _open(self, event: Event) -> Seen:
        seen = self._open_tasks.get(event.task)
        if seen is None:
            self.blame("conservation", f"{event.kind}: task {event.task} is not open")
        return seen

    def _submitted(self, event: Event) -> None:
        """1: a task is opened once."""
        self._demand(event.task not in self._open_tasks, "dedupe", "task {} was opened twice", event.task)
        needs = event.detail.get("needs", "")
        self._number += 1
        client = event.detail["client"]
        seen = Seen(client, frozenset(needs.split(",")) if needs else _NOTHING, self._number)
        self._open_tasks[event.task] = seen
        self._queued += 1

    def _dispatched(self, event: Event) -> None:
        """2, 5, 6: one attempt at a time, in order, to a living, capable, least busy worker."""
        seen = self._open(event)
        name, attempt = event.worker, event.attempt
        if seen.state != QUEUED:
            self.blame("one_attempt", f"task {event.task} was dispatched while {seen.worker} had it")
        if attempt != seen.attempt + 1:
            self.blame("attempts_grow", f"task {event.task}: attempt {attempt} after {seen.attempt}")
        hand = self._hands.get(name)
        if hand is None or not hand.ready_for(seen.needs):
            self.blame("fit_worker", f"{name} got task {event.task} and is gone, not ready or not capable")
        if self.least_busy:
            busy = hand.in_flight
            for other_name, other in self._hands.items():
                idle = other.in_flight
                if idle < busy and idle <= other.slots and other.ready_for(seen.needs):
                    self.blame("least_busy", f"{name} got a task on top of {busy}; {other_name} had {idle}")
        if self._works[bytes.fromhex(event.task)].nature in ("locks", "stalls"):
            self._judge_containment(event, seen)
        if attempt == 1:
            lane = seen.client, seen.needs
            if seen.number <= self._in_turn.get(lane, 0):
                self.blame("in_order", f"task {event.task} was overtaken by another of {seen.client}")
            self._in_turn[lane] = seen.number
        seen.state, seen.worker, seen.attempt, seen.started_at = ASSIGNED, name, attempt, None
        seen.sent[attempt] = name, hand.epoch
        seen.sent_at[attempt] = event.at
        hand.held.add(event.task)
        self._queued -= 1

    def _judge_containment(self, event: Event, seen: Seen) -> None:
        """Fault table: a task that keeps the interpreter lock has two workers silent at once, never more.

        If it lets go now and then, two that nothing else has befallen compute it at once, never more.
        """
        task = bytes.fromhex(event.task)
        if self._works[task].nature == "stalls":
            sent = {attempt: (name, seen.sent_at[attempt]) for attempt, (name, _) in seen.sent.items()}
            stuck = self._truth.computing(task, sent, self._awake_since)
        else:
            standing = {self._epoch_of.get(route) for route in self.connections}
            stuck = [
                name for name, epoch in seen.sent.values()
                if epoch in standing and self._truth.keeps_lock(task, name, epoch)
            ]  # fmt: skip
        self._demand(
            len(stuck) < 2, "containment", "task {} has silenced {}, and goes to {}",
            event.task, stuck, event.worker,
        )  # fmt: skip

    def _started(self, event: Event) -> None:
        """2: only the current attempt starts."""
        seen = self._open(event)
        self._demand(
            seen.state == ASSIGNED and (seen.worker, seen.attempt) == (event.worker, event.attempt),
            "one_attempt", "attempt {} of task {} started, which is not current", event.attempt, event.task,
        )  # fmt: skip
        seen.started_at = event.at

    def _end(self, event: Event) -> Seen:
        seen = self._open(event)
        if seen.state == QUEUED:
            self._queued -= 1
        elif event.task in self._orphans:
            del self._orphans[event.task]
        else:
            hand, by = self._hands[seen.worker], self._event
            hand.held.discard(event.task)
            answer = type(by) is FromWorker and type(by.message) in ANSWERS and by.route == hand.route
            if not answer or (by.message.task.hex(), by.message.attempt) != (event.task, seen.attempt):
                hand.revoked.add((event.task, seen.attempt))
        del self._open_tasks[event.task]
        route = self._client_routes.get(seen.client)
        if event.kind != h.CANCELLED and route is not None and self._tables.clients.at(route) is not None:
            self._ended.append(event.task)
        return seen

    def _done(self, event: Event) -> None:
        """Protocol: a result counts only if its attempt was dispatched to the epoch that sends it."""
        seen = self._end(event)
        sent = seen.sent.get(event.attempt)
        by = self._event
        genuine = (
            type(by) is FromWorker
            and type(by.message) is m.Done
            and (by.message.task.hex(), by.message.attempt) == (event.task, event.attempt)
            and sent == (event.worker, self._epoch_of.get(by.route))
        )
        self._demand(genuine, "epoch_fencing", "task {} took a result of {}, but attempt {} was sent to {}",
                     event.task, event.worker, event.attempt, sent)  # fmt: skip

    def _failed(self, event: Event) -> None:
        """3: a failure is deserved: the task raises, hung, crashed workers, or its time was over."""
        seen = self._end(event)
        code, task = event.detail["code"], bytes.fromhex(event.task)
        work = self._works[task]
        if code == "ERROR":
            deserved = work.nature == "raises"
        elif code == "POISONED":
            deserved = self._evidence(task) >= self._rules.max_crashes
        elif code == "HUNG":
            deserved = self._truth.overruns(task) >= self._rules.max_hangs
        elif code == "NO_WORKER":
            capable = [
                name
                for name, hand in self._hands.items()
                if not hand.capabilities or seen.needs <= hand.capabilities
            ]
            deserved = not capable and seen.state == QUEUED
        else:
            deserved = code == "DEADLINE" and work.budget_s < 3600
        self._demand(deserved, "deserved_failure", "task {} ({}) failed as {}", event.task, work.nature, code)

    def _poisoned(self, event: Event) -> None:
        """8, blame rule: crashes are counted only where a process died after the task had begun in it.

        A process whose connection broke counts as dead until it says hello again.
        """
        task, crashes = bytes.fromhex(event.task), event.detail["crashes"]
        self._demand(event.task not in self._verdicts, "evidence", "task {} was poisoned twice", event.task)
        self._verdicts.add(event.task)
        self._demand(
            crashes <= self._rules.max_crashes, "evidence", "task {} crashed {} workers", event.task, crashes
        )
        evidence = self._evidence(task)
        if crashes > evidence:
            self.blame(
                "evidence", f"task {event.task} is blamed for {crashes} crashes, evident are {evidence}"
            )

    def _evidence(self, task: bytes) -> int:
        return self._truth.evidence(task, {worker.instance for worker in self._tables.workers})

    def _requeued(self, event: Event) -> None:
        """1: what is requeued was taken from the worker that had it."""
        seen = self._open(event)
        if seen.state != ASSIGNED or seen.worker != event.worker:
            self.blame("requeue", f"{event.task} was requeued from {event.worker}, but {seen.worker} had it")
        if event.task in self._orphans:
            del self._orphans[event.task]
        else:
            self._hands[event.worker].held.discard(event.task)
        seen.state, seen.worker, seen.started_at = QUEUED, "", None
        self._queued += 1
        task = bytes.fromhex(event.task)
        now_open = self._tables.tasks.get(task)
        crashes, begun = now_open.crashes if now_open is not None else 0, len(self._truth.begun.get(task, ()))
        if crashes > begun:
            self.blame(
                "evidence", f"task {event.task} is blamed for {crashes} crashes, and began {begun} times"
            )

    def _cancelled(self, event: Event) -> None:
        """3: the broker cancels only what its client gave up, or the tasks of a client that is gone."""
        seen = self._end(event)
        if event.detail.get("cause") != "asked" and not self._truth.may_cancel(seen.client):
            self.blame("client_gone", f"{seen.client}, who is there, lost task {event.task}")

    # --- workers --------------------------------------------------------------------------------------------

    def _joined(self, event: Event) -> None:
        """7: whoever joins is new, and no other has its id."""
        self._demand(event.worker not in self._hands, "one_worker_an_id", "{} joined twice", event.worker)
        epoch = event.detail["epoch"]
        self._demand(epoch not in self._epochs, "current_epoch", "{} joined with a used epoch", event.worker)
        self._epochs.add(epoch)
        stated = event.detail["capabilities"]
        capabilities = frozenset(stated.split(",")) if stated else _NOTHING
        self._hands[event.worker] = Hand(epoch, event.detail["slots"], capabilities)

    def _hand(self, event: Event) -> Hand:
        hand = self._hands.get(event.worker)
        if hand is None:
            self.blame("current_epoch", f"{event.kind}: {event.worker} is not there")
        return hand

    def _suspect(self, event: Event) -> None:
        self._hand(event).suspect = True

    def _alive(self, event: Event) -> None:
        self._hand(event).suspect = False

    def _draining(self, event: Event) -> None:
        self._hand(event).draining = True

    def _left(self, event: Event) -> None:
        """A worker that goes leaves nothing assigned to it."""
        hand = self._hand(event)
        del self._hands[event.worker]
        self._orphans = dict.fromkeys(hand.held, hand)

    def _lost(self, event: Event) -> None:
        """12: a worker is given up only for what it did: it was silent, hung, or its connection broke.

        Neither is one that is well ever given up because of another one with its id. A hello of its own that
        comes late, by a connection that it has left meanwhile, is no other's.
        """
        hand = self._hand(event)
        cause = event.detail["cause"]
        connection = self.connections.get(hand.route)
        if cause == "silent" and connection is not None:
            silent_s = event.at - connection.last_arrival
            if silent_s < self._rules.dead_s - 1e-6:
                self.blame("on_time", f"{event.worker} was given up {silent_s:.3f} s after its last message")
        hung = cause == "lease" and any(self._truth.overruns(bytes.fromhex(name)) for name in hand.held)
        if cause == "lease" and not hung:
            self.blame("on_time", f"{event.worker} was given up without a hung task")
        by = self._event
        overtaken = (
            type(by) is FromWorker and type(by.message) is m.WorkerHello
            and by.message.epoch.hex() != hand.epoch
            and by.message.instance == self._truth.instance_of(event.worker, hand.epoch)
        )  # fmt: skip
        if not hung and not overtaken and self._truth.is_well(event.worker, hand.epoch):
            self.blame("on_time", f"{event.worker} was given up ({cause}) and is well")
        self._left(event)
