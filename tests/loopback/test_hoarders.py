"""Who knows the secret and fills the broker's memory where its tables do not see it is hung up on in time."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from labkit import jobs, shortcut
from labkit.client import Client
from tests.loopback.rig import HOST, Rig, results
from tests.loopback.zmtp import AN_EMPTY_FRAME_AND_MORE, come_in
from tests.support import wait_until

MB = 1 << 20
ROOM = 64 * MB
timing = pytest.mark.xdist_group("timing")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("shared") / "rig"
    with Rig(folder, workers=2, max_unseen_bytes=ROOM) as rig:
        yield rig
        assert rig.broker is not None and rig.broker.poll() is None
        assert "Traceback" not in rig.log("broker")


@pytest.fixture
def friend(rig: Rig) -> Iterator[Client]:
    """Another client, whose tasks come back while the test goes on and afterwards."""
    friend = rig.client("friend")
    before = [friend.submit(jobs.sleep_for, 0.02) for _ in range(50)]
    yield friend
    assert results(before) == [0.02] * 50
    assert friend.submit(jobs.echo, bytes(2 * MB)).result(20) == bytes(2 * MB)


def by_tcp(rig: Rig, door: str) -> socket.socket:
    return socket.create_connection((HOST, rig.ports[door]), timeout=5)


def by_shortcut(rig: Rig, door: str) -> socket.socket:
    path = shortcut.path_for(rig.ports[door], rig.token)
    if path is None:
        pytest.skip("no Unix sockets here")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def bomb(connection: socket.socket, stop: threading.Event) -> None:
    """Send frames that each announce one more, until the broker hangs up: 2 MB a second, which fill 60 MB.

    At full speed it would be five times that, and what the broker loses until it looks would depend on how
    soon a busy machine lets it.
    """
    frames = AN_EMPTY_FRAME_AND_MORE * 10_000
    try:
        while not stop.wait(0.01):
            connection.sendall(frames)
    except OSError:
        return  # hung up


@timing
@pytest.mark.parametrize(
    ("way", "door", "role", "kind"),
    [
        (by_tcp, "client", "client", b"DEALER"), (by_tcp, "worker", "worker", b"DEALER"),
        (by_shortcut, "client", "client", b"DEALER"), (by_tcp, "event", "client", b"SUB"),
    ],
    ids=["a client", "a worker", "a client by the Unix socket", "a subscriber"],
)  # fmt: skip
def test_a_message_that_never_ends_costs_a_bounded_memory_and_nobody_else(
    rig: Rig, friend: Client, way: Callable[[Rig, str], socket.socket], door: str, role: str, kind: bytes
) -> None:
    assert rig.broker is not None
    memory = psutil.Process(rig.broker.pid).memory_info
    before = most = memory().rss
    stop = threading.Event()
    with way(rig, door) as connection:
        come_in(connection, role, rig.token, kind)
        bombing = threading.Thread(target=bomb, args=(connection, stop), daemon=True)
        bombing.start()

        def hung_up() -> bool:
            nonlocal most
            most = max(most, memory().rss)
            assert friend.submit(jobs.echo, 1).result(10) == 1
            return not bombing.is_alive()

        try:
            wait_until(hung_up, 60, "the broker to hang up")
        finally:
            stop.set()
    assert most - before < ROOM + 300 * MB, f"{(most - before) >> 20} MB"  # five seconds at its speed
    wait_until(lambda: memory().rss - before < ROOM, 10, "the memory to be given back")
    assert {row["id"] for row in rig.status()["workers"] if row["status"] in ("ready", "busy")} == {
        "worker-1", "worker-2",
    }  # fmt: skip


def test_large_messages_that_were_announced_are_no_bomb(rig: Rig, friend: Client) -> None:
    """Each is larger than the room for what is not known of."""
    cut = rig.counters().get("cut_connections", 0)
    large = os.urandom(ROOM + 16 * MB)
    assert results([friend.submit(jobs.echo, large) for _ in range(2)], 60) == [large] * 2
    assert rig.counters().get("cut_connections", 0) == cut


@timing
def test_a_peer_that_was_hung_up_on_by_mistake_comes_back_and_loses_nothing(rig: Rig) -> None:
    """A worker that is frozen at that moment looks just like the bomber."""
    client = rig.client("patient")
    frozen = rig.workers["worker-2"]
    futures = [client.submit(jobs.sleep_for, 0.2) for _ in range(20)]
    rig.wait_for_event("started", worker="worker-2")
    rig.freeze(frozen)
    stop = threading.Event()
    with by_tcp(rig, "client") as connection:
        come_in(connection, "client", rig.token)
        bombing = threading.Thread(target=bomb, args=(connection, stop), daemon=True)
        bombing.start()
        try:
            wait_until(lambda: not bombing.is_alive(), 60, "the broker to hang up")
        finally:
            stop.set()
            rig.thaw(frozen)
    assert results(futures, 60) == [0.2] * 20
    rig.wait_for_workers("worker-1", "worker-2")
    rig.check_outcomes(futures)
