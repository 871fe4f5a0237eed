"""The state of the broker's loop and sockets, checked from inside."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from labkit.broker import connections
from labkit.broker.authenticator import CLIENT_DOMAIN, Authenticator
from labkit.broker.endpoint import DROP_BUDGET, Endpoint
from labkit.broker.service import MAX_DEFERRED_TURNS, Broker
from labkit.client.client import Client
from labkit.core.broker.inputs import ClientClosed, WorkerClosed
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.security.credentials import Token
from labkit.transport.event_stream import EventStream
from tests.tools.rig import HOST, ThreadBroker
from tests.tools.waiting import wait_until


def test_a_sent_message_no_longer_counts_as_held() -> None:
    with ThreadBroker() as broker:
        worker, client = broker.peer("worker"), broker.peer("client")
        worker.send(m.WorkerHello(os.urandom(8), os.urandom(8), 1, 1, "w", ""))
        worker.hear(m.WorkerWelcome)
        client.send(m.ClientHello(os.urandom(16), "c"))
        client.hear(m.ClientWelcome)
        payload = m.Payload(b"", (bytes(1 << 20),))
        client.send(m.Submit(os.urandom(16), 60.0, 30.0, "labkit.jobs:echo", "", payload))
        assert worker.hear(m.Task).payload.size == payload.size
        leaving = broker.broker._workers._backlog._leaving
        assert leaving, "it was large enough to be followed"
        wait_until(lambda: not any(list(leaving.values())), what="the broker to see that it has left")


def test_the_memory_guard_also_looks_without_clients_or_workers() -> None:
    with ThreadBroker() as broker, EventStream(broker.address("event"), broker.credentials):
        looks = {broker.broker._memory.look_at}

        def looked_again() -> bool:
            looks.add(broker.broker._memory.look_at)
            return len(looks) > 3

        wait_until(looked_again, 10, "the next looks")


class Door:
    """An endpoint whose closed connections are set by the test."""

    def __init__(self) -> None:
        self.closed: list[bytes] = []

    @property
    def has_closed(self) -> bool:
        return bool(self.closed)

    def take_closed(self) -> list[bytes]:
        closed, self.closed = self.closed, []
        return closed


def test_each_closed_connection_gets_the_same_patience_in_a_flood() -> None:
    told: Counter[type] = Counter()

    def handle(event: Any, now: float) -> list[Any]:
        told[type(event)] += 1
        return []

    workers, clients = Door(), Door()
    broker: Any = SimpleNamespace(
        _workers=workers, _clients=clients, _deferred_turns=0, scheduler=SimpleNamespace(handle=handle)
    )

    def turns_until(kind: type, workers_empty: bool) -> int:
        """Never be read empty, as if a client flooded the socket."""
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


def test_a_replaced_socket_has_the_same_addresses_and_peers_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThreadBroker() as broker, Client(broker.address("client"), broker.credentials) as client:
        inside, former = broker.broker, broker.broker._clients.socket
        worker = broker.peer("worker")
        worker.send(m.WorkerHello(os.urandom(8), os.urandom(8), 1, 1, "w", ""))
        worker.hear(m.WorkerWelcome)
        started_over = threading.Event()

        def rebind() -> None:
            """Act in the loop's thread as if the clients' socket were dropping an oversized message."""
            inside._keys_changed = False
            inside._clients._dropping = b"a peer"
            assert inside.rebind()
            started_over.set()

        monkeypatch.setattr(inside, "_disconnect_removed_keys", rebind)
        inside._on_keys_changed()
        assert started_over.wait(10)
        assert former.closed and inside._clients.socket is not former
        assert client.status()["workers"][0]["id"] == "w", "it came by the Unix socket; the worker stayed"
        visitor = broker.peer("client")
        visitor.send(m.ClientHello(os.urandom(16), "by TCP"))
        visitor.hear(m.ClientWelcome)


def test_a_replaced_socket_whose_port_is_taken_raises_and_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "AGAIN_S", 0.05)
    context: zmq.Context[Any] = zmq.Context()
    authenticator = Authenticator(context, Token("token"))
    authenticator.start()
    endpoint = Endpoint(authenticator, CLIENT_DOMAIN, HOST, 0, m.FROM_CLIENT, Rules(), lambda _what: None)

    def taken(_address: str) -> None:
        raise zmq.ZMQError(errno.EADDRINUSE)

    monkeypatch.setattr(endpoint, "_bind", taken)
    with pytest.raises(zmq.ZMQError, match="in use"):
        endpoint.rebind()
    endpoint.close()
    authenticator.close()
    context.term()


def test_a_message_of_very_many_frames_disconnects_its_sender() -> None:
    with ThreadBroker() as broker:
        counters = broker.scheduler.counters
        stranger, friend = broker.peer("client"), broker.peer("client")
        stranger.throw([b""] * (2 * DROP_BUDGET))
        wait_until(lambda: counters["oversized_messages"] == 1 and counters["cut_connections"] == 1)
        friend.send(m.ClientHello(os.urandom(16), "friend"))
        friend.hear(m.ClientWelcome)
        assert not broker.broker._clients.is_dropping
