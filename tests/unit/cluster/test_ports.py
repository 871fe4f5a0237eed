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


# --- the HTTP side ---


def test_the_http_side_takes_the_courses_port_if_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "obstacle", lambda host, port: None)
    assert ports.choose_for_api(None) == 8000
    assert ports.choose_for_api(None, usual=False) != 8000
    assert ports.choose_for_api(None, avoid={8000}) in range(ports.API_FIRST, ports.API_LAST + 1)
    assert ports.choose_for_api(8123) == 8123


def test_the_http_side_takes_another_port_where_8000_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {8000}
    monkeypatch.setattr(ports, "obstacle", lambda host, port: ports.IN_USE if port in taken else None)
    port = ports.choose_for_api(None)
    assert ports.API_FIRST <= port <= ports.API_LAST < ports.FIRST, "no cluster's block of four has it"


def test_a_port_asked_for_the_http_side_is_never_replaced(taken: int) -> None:
    with pytest.raises(PortInUse, match=f"port {taken} of 127.0.0.1 .api.*in use"):
        ports.choose_for_api(taken)


def test_the_other_ports_are_chosen_without_regard_to_the_http_side(usual: Mapping[str, int]) -> None:
    assert ports.choose(HOST, {"api": 8123}, usual=True) == usual
    with pytest.raises(InvalidInput, match="LABKIT_API_PORT"):
        ports.choose(HOST, {"api": 8123, "redis": 8123}, usual=True)


def test_a_port_asked_for_the_http_side_is_left_to_it(usual: Mapping[str, int]) -> None:
    chosen = ports.choose(HOST, {"api": usual["client"]}, usual=True)
    assert usual["client"] not in chosen.values()
    assert [name for name in usual if chosen[name] != usual[name]] == ["client"]


def test_the_environment_asks_for_the_port_of_the_http_side() -> None:
    assert ports.asked_for({"LABKIT_API_PORT": " 8123 "}) == {"api": 8123}


def test_where_no_port_is_free_the_http_side_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "obstacle", lambda host, port: ports.IN_USE)
    with pytest.raises(ClusterError, match="no free port"):
        ports.choose_for_api(None)
