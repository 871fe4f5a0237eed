"""The two sessions of the core, each with a shell that only records actions, in virtual time."""

from __future__ import annotations

from typing import Any

from labkit.core.peers import client_events as ce
from labkit.core.peers import client_session as c
from labkit.core.peers import worker_events as we
from labkit.core.peers import worker_session as w
from labkit.core.peers.session import Arrived, Phase, Send, Tick
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules

RULES = Rules()
A, B, C = (bytes([letter]) * 16 for letter in b"abc")
RESULT = m.Payload(b"result")


class AWorker:
    """A worker's session with a shell that only records actions; ``took`` empties the record."""

    def __init__(self, slots: int = 1) -> None:
        self.now = 100.0
        self.made = 0
        self.processor_s = 3.0
        self.out: list[Any] = []
        self.session = w.WorkerSession(
            "worker-1", frozenset({"edges", "blur"}), slots, 77, RULES, self._fresh
        )
        self.out += self.session.start(self.now)

    def _fresh(self) -> bytes:
        self.made += 1
        return b"fresh%03d" % self.made

    def hears(self, *messages: Any) -> None:
        """Deliver messages from the broker."""
        for message in messages:
            self.out += self.session.handle(Arrived(message), self.now)

    def sees(self, event: Any) -> None:
        """Pass in an event of the shell."""
        self.out += self.session.handle(event, self.now)

    def gets(self, *tasks: bytes, attempt: int = 1, careful: int = 0, lease_s: float = 30.0) -> None:
        self.hears(*(m.Task(task, attempt, lease_s, careful, m.EMPTY) for task in tasks))

    def begins(self, task: bytes, attempt: int = 1) -> None:
        self.sees(we.Began(task, attempt, self.now))

    def finishes(self, task: bytes, attempt: int = 1, payload: m.Payload = RESULT) -> None:
        self.sees(we.Finished(task, attempt, 0.1, payload))

    def pass_time(self, seconds: float, broker_beats: bool = True) -> None:
        """Let time pass, with ticks at the instants that the session asks for."""
        end = self.now + seconds
        while self.now < end and self.session.phase is not Phase.OVER:
            self.now = max(self.now + 0.001, min(end, self.session.next_deadline()))
            if broker_beats:
                self.hears(m.Heartbeat())
            self.sees(Tick(self.processor_s))

    def oversleep(self, seconds: float) -> None:
        """Freeze the process."""
        self.now += seconds
        self.sees(Tick(self.processor_s))

    def is_locked(self, seconds: float, share: float = 1.0) -> None:
        """Let a task keep the interpreter lock and use this share of the processor."""
        self.sees(Tick(self.processor_s))
        self.processor_s += seconds * share
        self.oversleep(seconds)

    def is_welcomed(self, broker: bytes = b"broker-1") -> None:
        self.hears(m.WorkerWelcome(broker, self.session.epoch, 0.5, 6.0))

    def took(self, kind: type) -> list[Any]:
        """Return all actions (or sent messages) of one kind so far, and forget all others."""
        found = [one for one in self.sent() + self.out if type(one) is kind]
        self.out.clear()
        return found

    def sent(self) -> list[Any]:
        """Return every message sent so far, oldest first, without heartbeats."""
        sent = [action.message for action in self.out if type(action) is Send]
        return [message for message in sent if type(message) is not m.Heartbeat]

    def ran(self) -> list[bytes]:
        return [action.task.task for action in self.out if type(action) is we.Run]

    def withdrew(self) -> list[bytes]:
        return [action.task for action in self.out if type(action) is we.Withdraw]

    def exit_code(self) -> int | None:
        codes = [action.code for action in self.out if type(action) is we.Exit]
        return codes[0] if codes else None


def a_worker(slots: int = 1) -> AWorker:
    """Return a worker that the broker has welcomed."""
    worker = AWorker(slots)
    worker.is_welcomed()
    worker.out.clear()
    return worker


class AClient:
    """A client's session with such a shell."""

    def __init__(self) -> None:
        self.now = 100.0
        self.out: list[Any] = []
        self.session = c.ClientSession(b"c" * 16, "ann", RULES)
        self.out += self.session.start(self.now)

    def hears(self, *messages: Any) -> None:
        """Deliver messages from the broker."""
        for message in messages:
            self.out += self.session.handle(Arrived(message), self.now)

    def asks(self, event: Any) -> None:
        """Pass in a wish of the user."""
        self.out += self.session.handle(event, self.now)

    def submits(self, *tasks: bytes, budget_s: float = 600.0, size: int = 10) -> None:
        for task in tasks:
            call = ce.Call(task, self.now + budget_s, 30.0, "job", "", m.Payload(bytes(size)), size)
            self.asks(ce.SubmitAsked(call))

    def is_welcomed(
        self, broker: bytes = b"broker-1", max_tasks: int = 1000, max_bytes: int = 1 << 30
    ) -> None:
        self.hears(m.ClientWelcome(broker, 0.5, 6.0, max_tasks, max_bytes))

    def gets_result(self, *tasks: bytes) -> None:
        self.hears(*(m.Result(task, 1, 0.1, "w1", RESULT) for task in tasks))

    def pass_time(self, seconds: float, broker_beats: bool = True) -> None:
        """Let time pass, with ticks at the instants that the session asks for."""
        end = self.now + seconds
        while self.now < end:
            self.now = max(self.now + 0.001, min(end, self.session.next_deadline()))
            if broker_beats:
                self.hears(m.Heartbeat())
            self.asks(Tick())

    def oversleep(self, seconds: float) -> None:
        self.now += seconds
        self.asks(Tick())

    def sent(self, kind: type | None = None) -> list[Any]:
        """Return every message sent so far, or those of one kind, without heartbeats."""
        sent = [action.message for action in self.out if type(action) is Send]
        return [one for one in sent if type(one) is kind or (kind is None and type(one) is not m.Heartbeat)]

    def submitted(self) -> list[bytes]:
        return [message.task for message in self.sent(m.Submit)]

    def actions(self, kind: type) -> list[Any]:
        """Return the actions of one kind."""
        return [action for action in self.out if type(action) is kind]

    def outcomes(self) -> list[tuple[bytes, str]]:
        """Return (task, RESULT or failure code) of all outcomes handed to the user."""
        return [
            (outcome.call.task, getattr(outcome.message, "code", "RESULT"))
            for outcome in self.actions(ce.Outcome)
        ]


def a_client(max_tasks: int = 1000, max_bytes: int = 1 << 30) -> AClient:
    """Return a client that the broker has welcomed."""
    client = AClient()
    client.is_welcomed(max_tasks=max_tasks, max_bytes=max_bytes)
    client.out.clear()
    return client
