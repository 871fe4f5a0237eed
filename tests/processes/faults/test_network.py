"""The fault suite's network: cuts hold bytes back, resets break connections, slow links take time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from labkit.faults.network import HOST, Network
from tests.tools.waiting import wait_until


@pytest.fixture
def echoing() -> Iterator[int]:
    """Return the port of a server that echoes everything."""
    server = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=say_back, args=(connection,), daemon=True).start()

    def say_back(connection: socket.socket) -> None:
        with connection:
            try:
                while part := connection.recv(1 << 16):
                    connection.sendall(part)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def connected(network: Network) -> socket.socket:
    return socket.create_connection((HOST, int(network.address.rpartition(":")[2])), 5)


def hear(end: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size and (part := end.recv(1 << 16)):
        heard += part
    return heard


def test_bytes_held_by_a_cut_arrive_in_order_after_healing(echoing: int) -> None:
    with Network(echoing) as network, connected(network) as end:
        end.sendall(b"one")
        assert hear(end, 3) == b"one"
        network.cut()
        end.sendall(b"two")
        end.sendall(b"three")
        end.settimeout(0.1)
        with pytest.raises(TimeoutError):
            end.recv(1)
        network.heal()
        end.settimeout(5)
        assert hear(end, 8) == b"twothree"


def test_new_connection_through_a_cut_network_is_silent(echoing: int) -> None:
    with Network(echoing) as network:
        network.cut()
        with connected(network) as end:
            end.sendall(b"hello")
            end.settimeout(0.1)
            with pytest.raises(TimeoutError):
                end.recv(1)
            network.heal()
            end.settimeout(5)
            assert hear(end, 5) == b"hello"


def test_a_reset_breaks_every_connection_and_lets_new_ones_in(echoing: int) -> None:
    with Network(echoing) as network:
        with connected(network) as one, connected(network) as other:
            for end in (one, other):
                end.sendall(b"x")
                assert hear(end, 1) == b"x"
            assert network.reset() == 2
            for end in (one, other):
                with pytest.raises(ConnectionResetError):
                    end.recv(1)
        with connected(network) as end:
            end.sendall(b"again")
            assert hear(end, 5) == b"again"


def test_a_slow_link_takes_as_long_as_its_bytes_need(echoing: int) -> None:
    with Network(echoing, bytes_per_s=1e6) as network, connected(network) as end:
        began = time.monotonic()
        end.sendall(bytes(200_000))
        assert len(hear(end, 200_000)) == 200_000
        assert time.monotonic() - began >= 0.2


def test_end_of_a_connection_is_passed_on(echoing: int) -> None:
    with Network(echoing) as network, connected(network) as end:
        end.sendall(b"last words")
        end.shutdown(socket.SHUT_WR)
        assert hear(end, 100) == b"last words"


def test_closed_network_accepts_no_connection(echoing: int) -> None:
    with Network(echoing) as network, connected(network) as end:
        end.sendall(b"x")
        assert hear(end, 1) == b"x"
        network.close()
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        with pytest.raises(OSError, match="refused"):
            connected(network)
    wait_until(lambda: "labkit-network" not in {thread.name for thread in threading.enumerate()})
