"""The simulated broker's host: the real Scheduler in a loop like that of ``labkit/broker/service.py``.

What arrives waits in an inbox. A turn hands over a bounded number of envelopes, then a ``Tick``, then sends
what is for one peer together. A frozen broker takes nothing in. A killed one loses everything it knew, and
its successor starts with a fresh epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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
"""Envelopes that a turn hands over at most: as in the real broker, or so few that some stay behind."""
FOREVER: Final = float("inf")


class Arrival(NamedTuple):
    """The messages of one envelope, by the connection with this route."""

    side: type[FromClient | FromWorker]
    route: Route
    messages: Sequence[m.Message]


class Garbage(NamedTuple):
    """A message that must change nothing but counters."""

    event: FromClient | FromWorker


class Observer(Protocol):
    """Watches the scheduler, event by event; each message of an envelope is one."""

    def broker_started(self, read_tables: Callable[[], Tables]) -> None: ...
    def before(self, event: Input | Garbage) -> None: ...
    def after(self, event: Input | Garbage, events: list[Event]) -> None: ...
    def wants_sent(self, actions: list[Action]) -> None: ...


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
        self._inbox: list[Arrival | Input | Garbage] = []
        self._handled: Input | None = None  # a message of an envelope that the observer has seen begin
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
        self._handled = None
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

    def arrived(self, connection: Connection, messages: Sequence[m.Message]) -> None:
        """The messages of one envelope came."""
        self.inject(Arrival(FromWorker if connection.of_worker else FromClient, connection.route, messages))

    def closed(self, connection: Connection) -> None:
        """A connection is gone; its last messages are in the inbox already, and are usually read first."""
        self.connections.pop(connection.route, None)
        event = WorkerClosed if connection.of_worker else ClientClosed
        self.inject(event(connection.route))
        if self._inbox and self._budget < max(TURN_BUDGETS) and self._random.random() < 0.3:
            self._inbox.insert(0, self._inbox.pop())  # under load the news may come before them

    def inject(self, event: Arrival | Input | Garbage) -> None:
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
            actions += self._hand_over(event) if isinstance(event, Arrival) else self._handle(event)
        actions += self._handle(Tick())
        self._send(actions)
        due = self.scheduler.next_deadline()
        if self._inbox:
            self._turn_by(self.loop.now + 0.0001)
        elif due is not None:
            self._turn_by(max(due, self.loop.now + 0.0005))

    def _hand_over(self, arrival: Arrival) -> list[Action]:
        """Hand over the messages of one envelope as the real broker does, under the observer's eyes."""
        messages = self._observed(arrival)
        actions = self.scheduler.handle_envelope(arrival.side, arrival.route, messages, self.loop.now)
        self._message_is_over()
        self._observer.wants_sent(actions)
        return actions

    def _observed(self, arrival: Arrival) -> Iterator[m.Message]:
        """Yield each message to the scheduler; when it asks for the next one, it has handled the last."""
        for message in arrival.messages:
            self._message_is_over()
            self._handled = arrival.side(arrival.route, message)
            self._observer.before(self._handled)
            yield message

    def _message_is_over(self) -> None:
        if self._handled is not None:
            handled, self._handled = self._handled, None
            self._event_is_over(handled)

    def _event_is_over(self, event: Input | Garbage) -> None:
        events = self.scheduler.take_events()
        self.history += events
        self._observer.after(event, events)

    def _handle(self, event: Input | Garbage) -> list[Action]:
        garbage = event.event.message if isinstance(event, Garbage) else None
        if type(garbage) is m.Submit and garbage.task not in self.tables.tasks:
            return []  # meanwhile it would be a new task
        self._observer.before(event)
        now = self.loop.now
        actions = self.scheduler.handle(event.event if isinstance(event, Garbage) else event, now)
        self._event_is_over(event)
        self._observer.wants_sent(actions)
        return actions

    def _send(self, actions: list[Action]) -> None:
        """Send a turn's messages; those to one peer share envelopes."""
        to_workers: defaultdict[Route, list[m.Message]] = defaultdict(list)
        to_clients: defaultdict[Route, list[m.Message]] = defaultdict(list)
        for action in actions:
            (to_clients if type(action) is ToClient else to_workers)[action.route].append(action.message)
        for by_route, allowed in ((to_workers, m.TO_WORKER), (to_clients, m.TO_CLIENT)):
            for route, messages in by_route.items():
                connection = self.connections.get(route)
                if connection is not None:
                    self.network.transmit(connection.down, messages, allowed)
