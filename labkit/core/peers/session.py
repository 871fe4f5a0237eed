"""What a worker's and a client's session share: greeting the broker, heartbeats, and noticing silence.

::

              Connect, hello             welcome
    (start) ───────────────► GREETING ─────────────► READY ...
                                ▲                      │
                                └── silent, or "stale" ┘

A session takes events and returns what to do. It has neither a socket nor a clock: its shell has both, and
passes the time in. The parts that differ are in `worker_session` and `client_session`.

Rules:

* Every message from the broker is a sign of life; the session sends at least one message per heartbeat.
* A broker is gone when it is silent for longer than the patience in its welcome, plus the time that its
  announced bulk takes on a slow connection.
* A session that was frozen could not listen: that time is not the broker's silence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.core.transitions import START, Transitions, check_transition


class Arrived(NamedTuple):
    """Event: a message arrived from the broker."""

    message: m.Message


class Tick(NamedTuple):
    """Event: time has passed, and everything that had arrived was handed over."""

    processor_s: float = 0.0
    """Processor time that this process has used so far, in seconds; a client leaves it 0."""


class Send(NamedTuple):
    """Action: send this message to the broker."""

    message: m.Message


class Connect(NamedTuple):
    """Action: discard the socket, with everything that waits in it, and open a new one."""


class Phase(Enum):
    """Where a session is in its life. Only workers drain."""

    START = START
    GREETING = "greeting"
    READY = "ready"
    DRAINING = "draining"
    OVER = "over"


Handlers = Mapping[type, Callable[[Any, Any, float], None]]
"""By the class of an event or a message: the method of a session that takes it."""

EventT = TypeVar("EventT")
"""The events of one kind of session, beside ``Arrived`` and ``Tick``."""
ActionT = TypeVar("ActionT")
"""The actions of one kind of session, beside ``Send`` and ``Connect``."""


class Session(ABC, Generic[EventT, ActionT]):
    """See the module's head."""

    TRANSITIONS: ClassVar[Transitions]
    """Which phase may follow which; each kind of session has its own table."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.phase = Phase.START
        self.broker_epoch = b""
        self._heartbeat_s = rules.heartbeat_s
        self._patience_s = rules.broker_gone_s
        self._bulk_s = 0.0
        self._last_heard = 0.0
        self._last_sent = 0.0
        self._last_tick = 0.0
        self._out: list[ActionT | Send | Connect] = []

    def start(self, now: float) -> list[ActionT | Send | Connect]:
        """Open the first connection and say hello."""
        self._last_tick = now
        self._greet(now, connect=True)
        return self._take()

    def handle(self, event: EventT | Arrived | Tick, now: float) -> list[ActionT | Send | Connect]:
        """Take one event in and return what to do, in order."""
        if self.phase is not Phase.OVER:
            self._handlers[type(event)](self, event, now)
        return self._take()

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[ActionT | Send | Connect]:
        """Do what ``handle`` does for ``Arrived`` with each message of one envelope: the hot path."""
        if self.phase is not Phase.OVER:
            for message in messages:
                self._on_message(message, now)
        return self._take()

    @abstractmethod
    def _greet(self, now: float, connect: bool) -> None:
        """Start over: say hello, on a new connection or on the present one."""

    def _enter(self, phase: Phase) -> None:
        check_transition(self.TRANSITIONS, self.phase.value, phase.value)
        self.phase = phase

    def _take(self) -> list[ActionT | Send | Connect]:
        out, self._out = self._out, []
        return out

    def _send(self, message: m.Message, now: float) -> None:
        self._out.append(m.new(Send, (message,)))
        self._last_sent = now

    def _say_hello(self, hello: m.Message, now: float, connect: bool) -> None:
        self._enter(Phase.GREETING)
        self._bulk_s = 0.0
        self._last_heard = now
        if connect:
            self._out.append(Connect())
        self._send(hello, now)

    def _on_arrived(self, event: Arrived, now: float) -> None:
        self._on_message(event.message, now)

    def _on_message(self, message: m.Message, now: float) -> None:
        self._last_heard = now
        self._bulk_s = 0.0
        handler = self._message_handlers.get(type(message))
        if handler is not None:
            handler(self, message, now)

    def _on_bulk(self, bulk: m.Bulk, now: float) -> None:
        self._bulk_s = bulk.size / self.rules.slow_link_bytes_per_s

    # --- time -----------------------------------------------------------------------------------------------

    def _due(self) -> float:
        """Return when a ``Tick`` is due because of the connection.

        It is at most a heartbeat away, or the next ``Tick`` would look like the end of a freeze.
        """
        due = self._last_tick + self._heartbeat_s
        if self.phase is Phase.GREETING:
            return min(due, self._last_heard + self.rules.dead_s)
        silent_at = self._last_heard + self._patience_s + self._bulk_s
        return min(due, self._last_sent + self._heartbeat_s, silent_at)

    def _slept_s(self, now: float) -> float:
        """Note a ``Tick``; return for how long this side was frozen, 0 if it was not."""
        since_s = now - self._last_tick
        self._last_tick = now
        if since_s <= self._heartbeat_s * 2:
            return 0.0
        self._last_heard = now
        return since_s

    def _is_broker_gone(self, now: float) -> bool:
        """Return whether the broker has been silent for too long, before its welcome or since."""
        if self.phase is Phase.GREETING:
            return now - self._last_heard >= self.rules.dead_s
        return now - self._last_heard >= self._patience_s + self._bulk_s

    def _beat(self, now: float) -> None:
        """Send a heartbeat if nothing else was sent for a heartbeat period."""
        if now - self._last_sent >= self._heartbeat_s:
            self._send(m.Heartbeat(), now)

    # --- handlers -------------------------------------------------------------------------------------------

    _handlers: ClassVar[Handlers] = {Arrived: _on_arrived}
    """By the class of an event."""

    _message_handlers: ClassVar[Handlers] = {m.Bulk: _on_bulk}
    """By the class of a message. Any other message only shows that the broker lives."""
