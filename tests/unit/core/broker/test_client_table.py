"""The broker's table of clients: a client outlives its connections, a route belongs to one of them."""

from __future__ import annotations

from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.records import ClientRecord

ANN, BEN = b"a" * 16, b"b" * 16


def joined(clients: ClientTable, id: bytes = ANN, route: str = "r1", now: float = 0.0) -> ClientRecord:
    return clients.join(id, id[:1].decode(), route, now)


def test_client_is_found_by_id_and_by_route() -> None:
    clients = ClientTable()
    ann = joined(clients)
    assert clients.get(ANN) is clients.at("r1") is ann
    assert list(clients) == [ann]
    assert clients.at("r2") is clients.get(BEN) is None


def test_client_that_comes_back_is_the_same_by_another_route() -> None:
    clients = ClientTable()
    ann = joined(clients)
    assert joined(clients, route="r2", now=3.0) is ann
    assert clients.at("r1") is None
    assert clients.at("r2") is ann
    assert ann.last_heard == 3.0
    assert len(clients) == 1


def test_closed_connection_keeps_the_client_and_drops_its_acknowledgements() -> None:
    clients = ClientTable()
    ann = joined(clients)
    ann.acks.append(bytes(16))
    ann.patience_s = 5.0
    assert clients.disconnect("r1") is ann
    assert clients.get(ANN) is ann
    assert (ann.route, ann.acks, ann.patience_s) == (None, [], 0.0)


def test_closing_a_former_connection_does_not_disconnect_the_client() -> None:
    clients = ClientTable()
    ann = joined(clients)
    joined(clients, route="r2")
    assert clients.disconnect("r1") is None
    assert ann.route == "r2"


def test_route_taken_over_by_another_client_is_only_that_ones() -> None:
    clients = ClientTable()
    ann = joined(clients)
    ben = joined(clients, BEN)
    assert clients.at("r1") is ben
    assert ann.route is None
    assert len(clients) == 2


def test_same_hello_twice_changes_nothing() -> None:
    clients = ClientTable()
    assert joined(clients) is joined(clients)
    assert clients.at("r1") is clients.get(ANN)


def test_forgotten_client_is_nowhere() -> None:
    clients = ClientTable()
    ann = joined(clients)
    clients.remove(ann)
    assert len(clients) == 0
    assert clients.get(ANN) is clients.at("r1") is ann.route is None


def test_disconnected_client_can_be_forgotten_too() -> None:
    clients = ClientTable()
    ann = joined(clients)
    clients.disconnect("r1")
    clients.remove(ann)
    assert len(clients) == 0
