"""A simulated process: a session of the real core, a socket, and a clock of its own.

It does what the shells do (``workers/worker.py``, ``labkit/client/io_loop.py``): hands the session what
arrived, lets it look at the clock when it wants to, and does what comes out. What it sends in one *turn*
shares envelopes. It can be frozen (SIGSTOP), thawed, and killed.

Each process reads a monotonic clock with an origin of its own, so nothing works that compares two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, ClassVar, Final, Protocol

from labkit.core.peers.session import Send, Tick
from labkit.core.protocol import messages as m
from labkit.simulation.connection import Envelope, Link
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network, Socket

SMALLEST_WAIT_S: Final = 0.0005
"""No shell looks at the clock more often than this."""
FOREVER: Final = float("inf")

Performers = Mapping[type, Callable[[Any], None]]
"""What a process does, by the class of the action that its session wants. Each takes that class only."""


class Session(Protocol):
    """What WorkerSession and ClientSession have in common."""

    def start(self, now: float) -> list[Any]: ...
    def handle(self, event: Any, now: float) -> list[Any]: ...
    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]: ...
    def next_deadline(self) -> float: ...


class Process:
    """One life of a program; subclasses add what it does besides sending and receiving."""

    may_send: ClassVar[frozenset[type]]

    def __init__(self, name: str, loop: Loop, network: Network, random: Random, link: Link) -> None:
        self.name = name
        self.loop = loop
        self.network = network
        self.random = random
        self.link = link
        self.session: Session
        self.alive = True
        self.frozen = False
        self.since = loop.now  # alive and not frozen since then
        self.struck_at = -FOREVER  # when a fault last froze it
        self.socket: Socket | None = None
        self.performers: Performers = {}
        self._offset_s = random.uniform(-1e5, 1e5)
        self._inbox: list[object] = []  # what came while it was frozen
        self._outbox: list[m.Message] = []  # what it sends in this turn
        self._wakes_at = FOREVER

    def tick(self) -> Tick:
        """Return the session's event of that name."""
        return Tick()

    def clock(self) -> float:
        """Return what this process's own monotonic clock shows."""
        return self.loop.now + self._offset_s

    def start(self) -> None:
        """Begin to live."""
        self.perform(self.session.start(self.clock()))
        self.end_turn()

    # --- what reaches it ------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """An envelope came out of the network."""
        self.feed(envelope)

    def feed(self, event: object) -> None:
        """Take a turn with an event for the session, or with an envelope; later if it is frozen."""
        if self.frozen:
            self._inbox.append(event)
        elif self.alive:
            self.handle(event)
            self.end_turn()

    def handle(self, event: object) -> None:
        """Hand an event, or the messages of an envelope, to the session; part of a turn."""
        if not self.alive:
            return
        if isinstance(event, Envelope):
            self.perform(self.session.handle_envelope(event.messages, self.clock()))
        else:
            self.perform(self.session.handle(event, self.clock()))

    def take_reports(self) -> None:
        """Hand the session what the process's own threads report; a shell does so before each ``Tick``."""

    def end_turn(self) -> None:
        """Send what the session wanted sent in this turn, and sleep."""
        self._flush()
        self._sleep()

    def _flush(self) -> None:
        if self._outbox and self.socket is not None:
            outbox, self._outbox = self._outbox, []
            self.socket.send(outbox)

    def perform(self, actions: list[Any]) -> None:
        """Do what the session wants done."""
        for action in actions:
            if self.alive:
                self.performers[type(action)](action)

    def _sleep(self) -> None:
        """Schedule the next look at the clock, when the session wants it."""
        due = self.session.next_deadline() - self._offset_s
        if due < self._wakes_at:
            self._wakes_at = max(due, self.loop.now + SMALLEST_WAIT_S)
            self.loop.at(self._wakes_at, self._wake, self._wakes_at)

    def _wake(self, meant: float) -> None:
        if meant != self._wakes_at:
            return  # an earlier wake-up has taken its place
        self._wakes_at = FOREVER
        if self.frozen or not self.alive:
            return
        if self.session.next_deadline() <= self.clock():
            self.take_reports()
            self.handle(self.tick())
            self.end_turn()
        else:
            self._sleep()

    # --- its socket -----------------------------------------------------------------------------------------

    def connect(self, _: object = None) -> None:
        """Throw the socket away, with all that waits in it, and open a new one."""
        self._outbox.clear()
        if self.socket is not None:
            self.socket.close(lost=self.random.choice((0, 0, 1, 3)))
        self.socket = Socket(self.network, self.link, self.receive, self.may_send)

    def send(self, action: Send) -> None:
        """Send the message of an action when this turn ends."""
        self._outbox.append(action.message)

    # --- what is done to it ---------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop it as SIGSTOP does: everything waits, nothing is lost."""
        if self.alive and not self.frozen:
            self.frozen = True
            if self.socket is not None:
                self.socket.frozen = True

    def thaw(self) -> None:
        """Let it run again: in one turn it finds its messages and its overdue deadline, in either order."""
        if not self.alive or not self.frozen:
            return
        self.frozen = False
        self.since = self.loop.now
        if self.socket is not None:
            self.socket.frozen = False
        inbox, self._inbox = self._inbox, []
        self.take_reports()
        clock_first = self.random.random() < 0.5
        if clock_first:
            self.handle(self.tick())
        for event in inbox:
            self.handle(event)
        if not clock_first:
            self.handle(self.tick())
        self.end_turn()

    def end(self, lost: int) -> None:
        """End the process; the last ``lost`` envelopes that it sent never leave the machine."""
        self._flush()
        self.alive = False
        self.frozen = False
        self._inbox.clear()
        if self.socket is not None:
            self.socket.close(lost)
