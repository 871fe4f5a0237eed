"""The choice of ports: the usual ones if free, otherwise others; a requested port is never replaced."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping

import pytest

from labkit.cluster import ports
from labkit.core.errors import ClusterError, InvalidInput, PortInUse
from labkit.support import i18n

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, int]:
    """Free ports in place of the usual ones: a cluster may be running on those."""
    found = ports.choose(HOST, {}, usual=False)
    monkeypatch.setattr(ports, "USUAL", found)
    return found


def test_the_usual_ports_are_taken_where_they_are_free(usual: Mapping[str, int]) -> None:
    assert ports.choose(HOST, {}, usual=True) == usual


def test_only_the_usual_port_that_is_taken_is_replaced(usual: Mapping[str, int]) -> None:
    with socket.create_server((HOST, usual["redis"])):
        chosen = ports.choose(HOST, {}, usual=True)
    assert [name for name in usual if chosen[name] != usual[name]] == ["redis"]
    assert chosen["redis"] != usual["redis"]
    assert ports.obstacle(HOST, chosen["redis"]) is None


def test_port_of_redis_is_tried_on_the_address_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ports, "obstacle", lambda host, port: ports.IN_USE if (host, port) == (HOST, 6379) else None
    )
    chosen = ports.choose("192.168.1.20", {}, usual=True)
    assert [name for name, port in ports.USUAL.items() if chosen[name] != port] == ["redis"]
    with pytest.raises(PortInUse, match="port 6379 of 127.0.0.1"):
        ports.choose("192.168.1.20", {"redis": 6379}, usual=True)


def test_free_ports_are_four_neighbours_below_those_that_systems_hand_out() -> None:
    chosen = list(ports.choose(HOST, {}, usual=False).values())
    assert chosen == list(range(chosen[0], chosen[0] + 4))
    assert chosen[0] >= ports.FIRST and chosen[3] <= ports.LAST < 32768
    assert all(ports.obstacle(HOST, port) is None for port in chosen)


def test_a_port_that_was_asked_for_and_is_taken_is_named(taken: int) -> None:
    with pytest.raises(PortInUse, match=rf"port {taken} of 127.0.0.1 \(worker\) cannot be used"):
        ports.choose(HOST, {"worker": taken}, usual=True)


def test_port_in_use_is_reported_in_the_readers_language(taken: int) -> None:
    with pytest.raises(PortInUse) as caught:
        ports.choose(HOST, {"worker": taken}, usual=True)
    assert "in use" in str(caught.value)
    i18n.set_language("es")
    assert "in use" not in i18n.translate_error(caught.value)


def test_a_port_that_was_asked_for_is_used_and_no_other_takes_it(usual: Mapping[str, int]) -> None:
    chosen = ports.choose(HOST, {"event": usual["client"]}, usual=True)
    assert chosen["event"] == usual["client"]
    assert len(set(chosen.values())) == 4


def test_environment_names_the_requested_ports() -> None:
    environ = {"LABKIT_CLIENT_PORT": "6001", "LABKIT_REDIS_PORT": " ", "LABKIT_HOST": "127.0.0.1"}
    assert ports.asked_for(environ) == {"client": 6001}


def test_lingering_connections_do_not_block_a_port() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((HOST, port)):
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    assert ports.obstacle(HOST, port) is None


def test_foreign_address_is_an_obstacle_with_a_reason() -> None:
    assert ports.obstacle("192.0.2.1", 5555)  # reserved for documentation: no machine has it


def test_a_machine_without_free_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "obstacle", lambda host, port: "it is in use")
    with pytest.raises(ClusterError, match="no four free ports"):
        ports.choose(HOST, {}, usual=False)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "localhost"])
def test_names_of_this_machine_are_accepted(host: str) -> None:
    assert len(ports.choose(host, {}, usual=False)) == 4


def test_two_equal_ports_are_named() -> None:
    with pytest.raises(InvalidInput, match="LABKIT_CLIENT_PORT and LABKIT_REDIS_PORT are both 20001"):
        ports.choose(HOST, {"client": 20001, "redis": 20001}, usual=True)
