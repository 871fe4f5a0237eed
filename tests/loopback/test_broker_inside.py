"""What the broker's loop and its sockets keep in mind, looked at from inside."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace
from typing import Any

from labkit.broker.service import MAX_DEFERRED_TURNS, Broker
from labkit.core import messages as m
from labkit.core.signals import ClientClosed, WorkerClosed
from tests.loopback.rig import ThreadBroker
from tests.support import wait_until


def test_what_has_left_is_not_counted_as_held() -> None:
    with ThreadBroker() as broker:
        worker, client = broker.peer("worker"), broker.peer("client")
        worker.say(m.WorkerHello(os.urandom(8), os.urandom(8), 1, 1, "w", ""))
        worker.hear(m.WorkerWelcome)
        client.say(m.ClientHello(os.urandom(16), "c"))
        client.hear(m.ClientWelcome)
        payload = m.Payload(b"", (bytes(1 << 20),))
        client.say(m.Submit(os.urandom(16), 60.0, 30.0, "labkit.jobs:echo", "", payload))
        assert worker.hear(m.Task).payload.size == payload.size
        leaving = broker.broker._workers._leaving
        assert leaving, "it was large enough to be followed"
        wait_until(lambda: not any(list(leaving.values())), what="the broker to see that it has left")


class Door:
    """An endpoint of which a test says who has hung up."""

    def __init__(self) -> None:
        self.closed: list[bytes] = []

    @property
    def has_closed(self) -> bool:
        return bool(self.closed)

    def take_closed(self) -> list[bytes]:
        closed, self.closed = self.closed, []
        return closed


def test_each_who_hangs_up_in_a_flood_is_waited_for_as_long_as_the_first() -> None:
    told: Counter[type] = Counter()

    def handle(event: Any, now: float) -> list[Any]:
        told[type(event)] += 1
        return []

    workers, clients = Door(), Door()
    broker: Any = SimpleNamespace(
        _workers=workers, _clients=clients, _deferred_turns=0, scheduler=SimpleNamespace(handle=handle)
    )

    def turns_until(kind: type, workers_empty: bool) -> int:
        """A flooding client keeps its socket from ever being read empty."""
        before, turns = told[kind], 0
        while told[kind] == before:
            turns += 1
            Broker._closures(broker, workers_empty, False, 0.0)
        return turns

    clients.closed.append(b"c1")
    assert turns_until(ClientClosed, workers_empty=True) == MAX_DEFERRED_TURNS + 1
    workers.closed.append(b"w1")
    assert turns_until(WorkerClosed, workers_empty=False) == MAX_DEFERRED_TURNS + 1, "its last words may wait"
    workers.closed.append(b"w2")
    assert turns_until(WorkerClosed, workers_empty=True) == 1
