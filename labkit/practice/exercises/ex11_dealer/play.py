"""The learner's side: a DEALER connected to the judge's broker, and the messages that cross it."""

from __future__ import annotations

import os
import time
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

PATIENCE_S = 8.0
LINGER_MS = 500

M = TypeVar("M")


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
        for envelope, frames in wire.envelopes(messages):
            sockets.send(self._socket, envelope, frames)

    def receive(self, kind: type[M]) -> M:
        """Return the next message of this kind; others, such as heartbeats, are dropped.

        Raises TimeoutError if none comes within ``PATIENCE_S``.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                self._note("received", message)
                if type(message) is kind:
                    return message
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._socket.poll(int(left_s * 1000)):
                raise TimeoutError(f"the broker sent no {kind.__name__} within {PATIENCE_S:g} s")
            envelope, frames = sockets.receive(self._socket)
            self._waiting += wire.decode(envelope, frames, m.TO_WORKER)

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


def run(module: ModuleType, name: str, address: str, token: str, tasks: int) -> list[list[Any]]:
    """Let the learner's function serve, and return the log."""
    context: zmq.Context[Any] = zmq.Context()
    peer = Peer(name, address, token, context)
    try:
        module.serve(peer, tasks)
    finally:
        peer.close()
        context.term()
    return peer.log
