"""The learner's side: a DEALER connected to the judge's broker, and the messages that cross it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeVar

import zmq

from labkit.calls import serialization
from labkit.calls.registry import resolve
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Token
from labkit.transport import sockets
from labkit.transport.sockets import WORKER_ROLE

BEATS = 10
"""Heartbeats of the broker without the message that is waited for: it will send none."""
PATIENCE_S = 8.0
"""For any sign of the broker."""
LINGER_MS = 8000
"""For what is still to leave; it takes milliseconds, unless this machine is very busy."""

M = TypeVar("M")


class Unheard(BaseException):
    """Raised in place of an answer: the broker, which knows this worker, gave no sign for ``PATIENCE_S``.

    No learner's ``except Exception`` has it.
    """


class Peer:
    """A worker's end of the connection to the broker."""

    def __init__(self, name: str, address: str, token: str, context: zmq.Context[Any]) -> None:
        self.name = name
        self.pid = os.getpid()
        self.instance = os.urandom(8)
        """This process, for the broker."""
        self.epoch = os.urandom(8)
        """This hello, for the broker."""
        self.log: list[list[Any]] = []
        """Every message: "sent" or "received", its kind, and the task it is about."""
        self._waiting: list[Any] = []
        self._socket = sockets.dealer(context, WORKER_ROLE, Token(token), Rules().max_message_bytes)
        self._socket.connect(address)

    def send(self, *messages: Any) -> None:
        """Send messages of `labkit.core.protocol.messages` to the broker."""
        for message in messages:
            self._note("sent", message)
        self._send(*messages)

    def _send(self, *messages: Any) -> None:
        for envelope, frames in wire.envelopes(messages):
            sockets.send(self._socket, envelope, frames)

    def receive(self, kind: type[M]) -> M:
        """Return the next message of this kind; others are dropped, and heartbeats answered.

        Raises TimeoutError if the broker sends heartbeats and no such message.
        """
        beats = 0
        while True:
            for message in self._next():
                self._note("received", message)
                if type(message) is kind:
                    return message
                if type(message) is m.Heartbeat:
                    beats += 1
                    self._send(message)
            if beats >= BEATS:
                raise TimeoutError(f"the broker sent {beats} heartbeats and no {kind.__name__}")

    def _next(self) -> Iterator[Any]:
        """Yield the messages that have come, after waiting for one. Raises TimeoutError or Unheard."""
        if not self._waiting:
            if not self._socket.poll(int(PATIENCE_S * 1000)):
                sent = [kind for direction, kind, _task in self.log if direction == "sent"]
                if "WorkerHello" in sent and "WorkerGoodbye" not in sent:
                    raise Unheard
                raise TimeoutError(f"the broker sent nothing within {PATIENCE_S:g} s")
            envelope, frames = sockets.receive(self._socket)
            self._waiting += wire.decode(envelope, frames, m.TO_WORKER)
        while self._waiting:
            yield self._waiting.pop(0)

    def compute(self, task: m.Task) -> tuple[m.Payload, float]:
        """Do a task; return its result, ready to be sent, and how long it took in seconds."""
        began = time.perf_counter()
        name, args, kwargs = serialization.decode_call(task.payload)
        payload = serialization.encode_value(resolve(name)(*args, **kwargs))
        return payload, time.perf_counter() - began

    def close(self) -> None:
        """Hang up once everything sent has left."""
        self._socket.close(linger=LINGER_MS)

    def _note(self, direction: str, message: Any) -> None:
        task = getattr(message, "task", b"")
        self.log.append([direction, type(message).__name__, task.hex() if isinstance(task, bytes) else ""])


def run(module: ModuleType, name: str, address: str, token: str, job: str, tasks: int) -> list[Any]:
    """Let the learner's function serve; return the log, and whether the broker gave no sign any more.

    ``job``: what the tasks call. Its import may take longer than a worker may be silent, so it comes first.
    """
    resolve(job)
    context: zmq.Context[Any] = zmq.Context()
    peer = Peer(name, address, token, context)
    unheard = False
    try:
        module.serve(peer, tasks)
    except Unheard:
        unheard = True
    finally:
        peer.close()
        context.term()
    return [peer.log, unheard]
