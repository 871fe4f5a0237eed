"""Looking at connections that belong to libzmq, and ending them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from labkit.broker.connections import at_port, disconnect, unread_bytes
from tests.tools.waiting import wait_until

MANY = bytes(300_000)
Pair = tuple[socket.socket, socket.socket]


def by_tcp() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


@pytest.fixture(params=[by_tcp, socket.socketpair], ids=["TCP", "Unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    make: Callable[[], Pair] = request.param
    near, far = make()
    with near, far:
        yield near, far


def fill(pair: Pair) -> int:
    """Send until the connection accepts no more; return how many bytes that were at least."""
    near, far = pair
    near.setblocking(False)
    sent = 0
    try:
        while True:
            sent += near.send(MANY)
    except BlockingIOError:
        wait_until(lambda: unread_bytes(far.fileno()) > 4096, what="it to arrive")
        return sent


def test_unread_bytes_are_counted_without_reading_them(pair: Pair) -> None:
    near, far = pair
    assert unread_bytes(far.fileno()) == 0
    near.sendall(b"12345")
    wait_until(lambda: unread_bytes(far.fileno()) == 5, what="five bytes")
    assert far.recv(9) == b"12345" and unread_bytes(far.fileno()) == 0


def test_a_disconnected_peer_sees_the_end_and_its_data_is_gone(pair: Pair) -> None:
    near, far = pair
    assert fill(pair) > 4096
    disconnect([far.fileno()])
    assert far.recv(1 << 20) == b"", "its owner finds it ended, and nothing before the end"
    far.close()

    def refused() -> bool:
        try:
            near.send(MANY)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    wait_until(refused, 10, "the other side to learn of it")


def test_a_closed_descriptor_or_a_file_is_ignored() -> None:
    with open(os.devnull) as file:
        disconnect([file.fileno()])
        assert unread_bytes(file.fileno()) == 0
        assert file.read() == ""
        closed = file.fileno()
    disconnect([closed])
    assert unread_bytes(closed) == 0


def test_connections_are_found_by_their_local_port() -> None:
    near, far = by_tcp()
    with near, far, socket.create_server(("127.0.0.1", 0)) as listening:
        assert at_port(far.getsockname()[1]) == [far.fileno()]
        assert at_port(listening.getsockname()[1]) == []
