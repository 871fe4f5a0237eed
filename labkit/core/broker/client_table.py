"""The broker's table of clients: the connection of each, and how much it has open.

A client keeps its id across reconnects; a route belongs to one connection. A client whose connection is gone
keeps its tasks for ``Rules.client_gone_s``, so that a short break costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from labkit.core.broker.records import ClientRecord, Route


class ClientTable:
    """All clients, by id and by route."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, ClientRecord] = {}
        self._by_route: dict[Route, ClientRecord] = {}
        self.open_bytes = 0
        """Payload bytes of all open tasks."""

    def __iter__(self) -> Iterator[ClientRecord]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: bytes) -> ClientRecord | None:
        """Return the client of this id, connected or not."""
        return self._by_id.get(id)

    def at(self, route: Route) -> ClientRecord | None:
        """Return the client at this connection."""
        return self._by_route.get(route)

    def join(self, id: bytes, name: str, route: Route, now: float) -> ClientRecord:
        """Return the client of this id, new or returning, now at this connection."""
        self.disconnect(route)  # another client may have used it before
        client = self._by_id.get(id)
        if client is None:
            client = self._by_id[id] = ClientRecord(id, name, route, now)
        elif client.route is not None:
            self._by_route.pop(client.route, None)
        client.route = route
        client.last_heard = now
        client.patience_s = 0.0
        self._by_route[route] = client
        return client

    def disconnect(self, route: Route) -> ClientRecord | None:
        """Forget a closed connection and return its client, which stays for a while."""
        client = self._by_route.pop(route, None)
        if client is not None:
            client.route = None
            client.patience_s = 0.0
            client.acks.clear()
        return client

    def remove(self, client: ClientRecord) -> None:
        """Forget the client."""
        del self._by_id[client.id]
        if client.route is not None:
            self._by_route.pop(client.route, None)
            client.route = None
