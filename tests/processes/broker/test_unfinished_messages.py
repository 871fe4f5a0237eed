"""A peer that fills memory which the broker cannot count is disconnected in time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from labkit import jobs
from labkit.client.client import Client
from labkit.transport import unix_socket
from tests.tools.rig import HOST, Rig, results
from tests.tools.waiting import wait_until
from tests.tools.zmtp import AN_EMPTY_FRAME, AN_EMPTY_FRAME_AND_MORE, come_in

MB = 1 << 20
ROOM = 64 * MB
MISSED = 160 * MB
"""Memory that an attack may fill between two looks: some 5 MB, unless the broker has to wait for a core."""
Way = Callable[[Rig, str], socket.socket]
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
    """Another client; its tasks return during the test and afterwards."""
    friend = rig.client("friend")
    before = [friend.submit(jobs.sleep_for, 0.02) for _ in range(50)]
    yield friend
    assert results(before) == [0.02] * 50
    assert friend.submit(jobs.echo, bytes(2 * MB)).result(20) == bytes(2 * MB)


def by_tcp(rig: Rig, door: str) -> socket.socket:
    return socket.create_connection((HOST, rig.ports[door]), timeout=5)


def by_unix_socket(rig: Rig, door: str) -> socket.socket:
    path = unix_socket.path_for(rig.ports[door], rig.token)
    if path is None:
        pytest.skip("no Unix sockets here")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


class Bombers:
    """Attackers that each send messages of ``frames`` empty frames (None: endless), as fast as they can.

    Each is a thread with one buffer that it sends again and again, so that most of the time is the kernel's.
    With ``again`` a disconnected one returns at once, until ``stop``.
    """

    def __init__(
        self,
        rig: Rig,
        way: Way,
        count: int,
        door: str = "client",
        role: str = "client",
        kind: bytes = b"DEALER",
        frames: int | None = None,
        again: bool = False,
    ) -> None:
        self._come_in = lambda: _come_in(rig, way, door, role, kind)
        self._bomb = AN_EMPTY_FRAME_AND_MORE * (frames or 500_000) + (AN_EMPTY_FRAME if frames else b"")
        self._again = again
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        self.hung_up_on = 0

    def __enter__(self) -> Bombers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    @property
    def are_through(self) -> bool:
        """Return whether all have been disconnected for good."""
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._come_in() as connection:
                    while not self._stopped.is_set():
                        connection.sendall(self._bomb)
            except (OSError, AssertionError):
                self.hung_up_on += 1
            if not self._again:
                return


def _come_in(rig: Rig, way: Way, door: str, role: str, kind: bytes) -> socket.socket:
    connection = way(rig, door)
    try:
        come_in(connection, role, rig.token, kind)
    except BaseException:
        connection.close()
        raise
    return connection


class Peak:
    """Measures all the time how much memory a process has occupied at most, beyond its first size."""

    def __init__(self, rig: Rig) -> None:
        assert rig.broker is not None
        self._memory = psutil.Process(rig.broker.pid).memory_info
        self._before = self._most = self._memory().rss
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.002):
            self._most = max(self._most, self._memory().rss)

    @property
    def growth(self) -> int:
        return self._most - self._before

    @property
    def present_growth(self) -> int:
        return self._memory().rss - self._before


@pytest.fixture
def hogs() -> Iterator[None]:
    """Run six computing processes per core, for a minute at most."""
    code = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(6 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def check(rig: Rig, friend: Client, bombers: Bombers) -> None:
    """Attack until all are disconnected; memory stays within the bound, and no other peer suffers."""
    with Peak(rig) as peak, bombers:

        def through() -> bool:
            assert friend.submit(jobs.echo, 1).result(20) == 1
            return bombers.are_through

        wait_until(through, 60, "the broker to hang up on all of them")
    assert peak.growth < ROOM + MISSED, f"{peak.growth >> 20} MB"
    wait_until(lambda: peak.present_growth < ROOM, 10, "the memory to be given back")
    rig.wait_for_workers("worker-1", "worker-2")


@timing
@pytest.mark.parametrize(
    ("way", "count", "door", "role", "kind"),
    [
        (by_tcp, 1, "client", "client", b"DEALER"), (by_tcp, 8, "client", "client", b"DEALER"),
        (by_tcp, 8, "worker", "worker", b"DEALER"), (by_unix_socket, 8, "client", "client", b"DEALER"),
        (by_tcp, 4, "event", "client", b"SUB"),
    ],
    ids=["a client", "eight clients", "eight workers", "eight by the Unix socket", "four subscribers"],
)  # fmt: skip
def test_a_message_that_never_ends_costs_bounded_memory(
    rig: Rig, friend: Client, way: Way, count: int, door: str, role: str, kind: bytes
) -> None:
    lost = len(rig.events("lost"))
    check(rig, friend, Bombers(rig, way, count, door, role, kind))
    assert len(rig.events("lost")) == lost, "only the attackers are disconnected"


@timing
@pytest.mark.parametrize("way", [by_tcp, by_unix_socket], ids=["TCP", "the Unix socket"])
def test_the_bound_holds_on_an_overloaded_machine(rig: Rig, friend: Client, hogs: None, way: Way) -> None:
    check(rig, friend, Bombers(rig, way, 4))


@timing
def test_a_returning_attacker_is_cut_each_time_in_bounded_memory(rig: Rig, friend: Client) -> None:
    with Peak(rig) as peak, Bombers(rig, by_tcp, 4, again=True) as bombers:
        wait_until(lambda: bombers.hung_up_on >= 40, 60, "forty times")
        assert friend.submit(jobs.echo, 1).result(20) == 1
    assert peak.growth < ROOM + MISSED, f"{peak.growth >> 20} MB"


@timing
@pytest.mark.parametrize("frames", [5_000, 200_000])
def test_messages_of_far_too_many_frames_cost_memory_but_no_worker(
    rig: Rig, friend: Client, frames: int
) -> None:
    """Finished messages must be read to their end; beyond a second ``ROOM`` the socket is replaced."""
    lost = len(rig.events("lost"))
    with Peak(rig) as peak, Bombers(rig, by_tcp, 4, frames=frames, again=True) as bombers:
        wait_until(lambda: bombers.hung_up_on >= 12, 60, "a dozen times")
    assert peak.growth < 2 * ROOM + MISSED, f"{peak.growth >> 20} MB"
    assert friend.submit(jobs.echo, 1).result(30) == 1
    assert len(rig.events("lost")) == lost


def test_announced_large_messages_are_no_attack(rig: Rig, friend: Client) -> None:
    """Each is larger than the room for unexplained memory."""
    cut = rig.counters().get("cut_connections", 0)
    large = os.urandom(ROOM + 16 * MB)
    assert results([friend.submit(jobs.echo, large) for _ in range(2)], 60) == [large] * 2
    assert rig.counters().get("cut_connections", 0) == cut


@timing
def test_a_peer_cut_by_mistake_returns_and_loses_nothing(rig: Rig) -> None:
    """A worker that is frozen at that moment looks just like an attacker."""
    client = rig.client("patient")
    frozen = rig.workers["worker-2"]
    futures = [client.submit(jobs.sleep_for, 0.2) for _ in range(20)]
    rig.wait_for_event("started", worker="worker-2")
    suspected = len(rig.events("suspect", worker="worker-2"))
    rig.freeze(frozen)
    wait_until(lambda: len(rig.events("suspect", worker="worker-2")) > suspected, 10, "it to be silent")
    try:
        with Bombers(rig, by_tcp, 1) as bombers:
            wait_until(lambda: bombers.are_through, 60, "the broker to hang up")
    finally:
        rig.thaw(frozen)
    assert results(futures, 60) == [0.2] * 20
    rig.wait_for_workers("worker-1", "worker-2")
    rig.check_outcomes(futures)
