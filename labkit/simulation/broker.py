"""The simulated broker's host: the real Scheduler in a loop like that of ``labkit/broker/service.py``.

What arrives waits in an inbox. A turn hands over a bounded number of events, then a ``Tick``, then sends. A
frozen broker takes nothing in; a killed one loses everything it knew, and its successor starts with a fresh
epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple, Protocol

from labkit.core import history as h
from labkit.core.broker.inputs import (
    Action,
    ClientClosed,
    FromClient,
    FromWorker,
    Input,
    Tick,
    ToClient,
    WorkerClosed,
)
from labkit.core.broker.records import Route
from labkit.core.broker.scheduler import Scheduler
from labkit.core.broker.tables import Tables
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.simulation.connection import Connection
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network

TURN_BUDGETS: Final = (200, 200, 10)
"""Events that a turn hands over at most: as in the real broker, or so few that something stays behind."""
FOREVER: Final = float("inf")


class Garbage(NamedTuple):
    """A message that must change nothing but counters."""

    event: FromClient | FromWorker


class Observer(Protocol):
    """Watches the scheduler, event by event."""

    def broker_started(self, read_tables: Callable[[], Tables]) -> None: ...
    def before(self, event: Input | Garbage) -> None: ...
    def after(self, event: Input | Garbage, actions: list[Action], events: list[Event]) -> None: ...


class BrokerHost:
    """The machine on which one broker after another runs. ``history`` is the record of them all."""

    def __init__(
        self,
        loop: Loop,
        random: Random,
        make_scheduler: Callable[[bytes, float], Scheduler],
        policy_name: str,
        observer: Observer,
        sweep_first: bool,
    ) -> None:
        self.loop = loop
        self.network: Network
        self.connections: dict[Route, Connection] = {}
        self.history: list[Event] = []
        self.frozen = False
        self.since = 0.0  # up and not frozen since then
        self._random = random
        self._budget = random.choice(TURN_BUDGETS)
        self._make_scheduler = make_scheduler
        self._policy_name = policy_name
        self._observer = observer
        self._sweep_first = sweep_first
        self._scheduler: Scheduler | None = None
        self._inbox: list[Input | Garbage] = []
        self._turn_at = FOREVER

    # --- its life -------------------------------------------------------------------------------------------

    @property
    def scheduler(self) -> Scheduler:
        """The broker that lives now; there must be one."""
        assert self._scheduler is not None
        return self._scheduler

    @property
    def tables(self) -> Tables:
        """A read-only view of the living broker's tables."""
        return self.scheduler.tables()

    @property
    def up(self) -> bool:
        """Whether a broker lives, frozen or not."""
        return self._scheduler is not None

    @property
    def accepts(self) -> bool:
        """Whether a new connection would be answered."""
        return self._scheduler is not None and not self.frozen

    @property
    def busy(self) -> bool:
        """Whether something that arrived has not been handed over yet."""
        return bool(self._inbox)

    def start(self) -> None:
        """Start a broker that knows nothing."""
        if self._scheduler is None:
            epoch = self._random.randbytes(8)
            self._scheduler = self._make_scheduler(epoch, self.loop.now)
            self.since = self.loop.now
            detail = {"epoch": epoch.hex(), "wall": "", "policy": self._policy_name}
            self.history.append(Event(self.loop.now, h.BROKER_STARTED, detail=detail))
            self._observer.broker_started(self._scheduler.tables)

    def kill(self) -> None:
        """kill -9."""
        self._scheduler = None
        self.frozen = False
        self._inbox.clear()
        for connection in list(self.connections.values()):
            connection.close_by_broker(lost=self._random.choice((0, 0, 1, 4)))
        self.connections.clear()

    def freeze(self) -> None:
        """Stop it as SIGSTOP does."""
        self.frozen = self.up

    def thaw(self) -> None:
        """Let it run again."""
        if self.frozen:
            self.frozen = False
            self.since = self.loop.now
            self._turn_by(self.loop.now)

    # --- its sockets ----------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A peer connected."""
        self.connections[connection.route] = connection

    def arrived(self, connection: Connection, message: m.Message) -> None:
        """A message came."""
        side = FromWorker if connection.of_worker else FromClient
        self.inject(side(connection.route, message))

    def closed(self, connection: Connection) -> None:
        """A connection is gone; its last messages are in the inbox already, and are usually read first."""
        self.connections.pop(connection.route, None)
        event = WorkerClosed if connection.of_worker else ClientClosed
        self.inject(event(connection.route))
        if self._inbox and self._budget < max(TURN_BUDGETS) and self._random.random() < 0.3:
            self._inbox.insert(0, self._inbox.pop())  # under load the news may come before them

    def inject(self, event: Input | Garbage) -> None:
        """Put an event into the inbox."""
        if self.up:
            self._inbox.append(event)
            self._turn_by(self.loop.now + self._random.random() * 0.0003)

    # --- its loop -------------------------------------------------------------------------------------------

    def _turn_by(self, when: float) -> None:
        if when < self._turn_at and not self.frozen:
            self._turn_at = when
            self.loop.at(when, self._turn, when)

    def _turn(self, meant: float) -> None:
        if meant != self._turn_at:
            return
        self._turn_at = FOREVER
        if not self.accepts:
            return
        actions: list[Action] = []
        if self._sweep_first:
            actions += self._handle(Tick())
        events, self._inbox = self._inbox[: self._budget], self._inbox[self._budget :]
        for event in events:
            actions += self._handle(event)
        actions += self._handle(Tick())
        self._send(actions)
        due = self.scheduler.next_deadline()
        if self._inbox:
            self._turn_by(self.loop.now + 0.0001)
        elif due is not None:
            self._turn_by(max(due, self.loop.now + 0.0005))

    def _handle(self, event: Input | Garbage) -> list[Action]:
        scheduler = self.scheduler
        garbage = event.event.message if type(event) is Garbage else None
        if type(garbage) is m.Submit and garbage.task not in scheduler.tasks:
            return []  # meanwhile it would be a new task
        self._observer.before(event)
        if type(event) is FromWorker or type(event) is FromClient:  # as the real broker does
            actions = scheduler.handle_envelope(type(event), event.route, (event.message,), self.loop.now)
        else:
            actions = scheduler.handle(event.event if isinstance(event, Garbage) else event, self.loop.now)
        events = scheduler.take_events()
        self.history += events
        self._observer.after(event, actions, events)
        return actions

    def _send(self, actions: list[Action]) -> None:
        for action in actions:
            connection = self.connections.get(action.route)
            if connection is not None:
                allowed = m.TO_CLIENT if type(action) is ToClient else m.TO_WORKER
                self.network.transmit(connection.down, action.message, allowed)
