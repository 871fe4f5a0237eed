"""What both ends of a conversation with the broker have in common: greeting it, hearing it, missing it.

::

              Connect, hello             welcome
    (start) ───────────────► GREETING ─────────────► READY ...
                                ▲                      │
                                └── silent, or "stale" ┘

A session is fed events and returns what to do. It has neither a socket nor a clock: the shell does, and tells
it the time. What is a worker's or a client's own stands in `worker_session` and `client_session`.

Rules:

* Everything heard counts as a sign of life; something is said at least once a heartbeat.
* Silence longer than the patience that the broker asked for, and than its announced bulk takes on a slow
  link, means that it is gone.
* A side that was frozen was not listening: that time is not the broker's silence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.core.transitions import START, Transitions, check_transition


class Arrived(NamedTuple):
    """It happened: a message came from the broker."""

    message: m.Message


class Tick(NamedTuple):
    """It happened: time has passed, and everything that had arrived was handed over."""

    processor_s: float = 0.0
    """How much processor time this process has used in its life; 0 where nobody asks."""


class Send(NamedTuple):
    """To do: send this message to the broker."""

    message: m.Message


class Connect(NamedTuple):
    """To do: throw the socket away, with all that waits in it, and open a new one."""


class Phase(Enum):
    """Where a session is in its life. Only workers drain."""

    START = START
    GREETING = "greeting"
    READY = "ready"
    DRAINING = "draining"
    OVER = "over"


Handlers = Mapping[type, Callable[[Any, Any, float], None]]


class Session(ABC):
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
        self._out: list[Any] = []

    def start(self, now: float) -> list[Any]:
        """Open the first connection and say hello."""
        self._last_tick = now
        self._greet(now, connect=True)
        return self._take()

    def handle(self, event: Any, now: float) -> list[Any]:
        """Take one event in and return what to do, in order."""
        if self.phase is not Phase.OVER:
            self._handlers[type(event)](self, event, now)
        return self._take()

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]:
        """Do what ``handle`` does for ``Arrived`` with each message of one envelope: the hot path."""
        if self.phase is not Phase.OVER:
            for message in messages:
                self._on_message(message, now)
        return self._take()

    @abstractmethod
    def _greet(self, now: float, connect: bool) -> None:
        """Begin anew: say hello, on a new connection or on the one that there is."""

    def _enter(self, phase: Phase) -> None:
        check_transition(self.TRANSITIONS, self.phase.value, phase.value)
        self.phase = phase

    def _take(self) -> list[Any]:
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

        It is never further away than a heartbeat, or the next ``Tick`` would look like the end of a freeze.
        """
        due = self._last_tick + self._heartbeat_s
        if self.phase is Phase.GREETING:
            return min(due, self._last_heard + self.rules.dead_s)
        silent_at = self._last_heard + self._patience_s + self._bulk_s
        return min(due, self._last_sent + self._heartbeat_s, silent_at)

    def _slept_s(self, now: float) -> float:
        """Note that it is ``now``; return for how long this side was frozen, 0 if it was not."""
        since_s = now - self._last_tick
        self._last_tick = now
        if since_s <= self._heartbeat_s * 2:
            return 0.0
        self._last_heard = now
        return since_s

    def _is_broker_gone(self, now: float) -> bool:
        """Return whether it has been silent for too long: with its welcome, or since."""
        if self.phase is Phase.GREETING:
            return now - self._last_heard >= self.rules.dead_s
        return now - self._last_heard >= self._patience_s + self._bulk_s

    def _beat(self, now: float) -> None:
        """Say that this side lives, if nothing else has been said for a while."""
        if now - self._last_sent >= self._heartbeat_s:
            self._send(m.Heartbeat(), now)

    # --- which does what ------------------------------------------------------------------------------------

    _handlers: ClassVar[Handlers] = {Arrived: _on_arrived}
    """By the class of an event."""

    _message_handlers: ClassVar[Handlers] = {m.Bulk: _on_bulk}
    """By the class of a message. What is not here says no more than that the broker lives."""
