"""The socket that the HTTP side listens on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from labkit.core.errors import PortInUse
from labkit.gateway.server import bind


async def nodelay_of_an_accepted(bound: socket.socket) -> int:
    """Return TCP_NODELAY of a connection that asyncio accepts on this socket."""
    accepted: asyncio.Queue[int] = asyncio.Queue()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(
            writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        )
        writer.close()

    async with await asyncio.start_server(serve, sock=bound):
        _reader, writer = await asyncio.open_connection(*bound.getsockname())
        found = await accepted.get()
        writer.close()
    return found


def test_an_answer_never_waits_for_the_callers_acknowledgement() -> None:
    assert asyncio.run(nodelay_of_an_accepted(bind("127.0.0.1", 0))) == 1, "else each costs 40 ms"


def test_a_named_port_that_is_taken_is_refused() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(PortInUse, match=str(first.getsockname()[1])):
            bind("127.0.0.1", first.getsockname()[1])
