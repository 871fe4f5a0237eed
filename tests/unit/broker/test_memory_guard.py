"""The bound for memory that the broker cannot see, with a simulated size and clock."""

from __future__ import annotations

import pytest

from labkit.broker import memory
from labkit.broker.memory import FASTEST, LOOK_S, QUIET_S, RETURN_S, SOON_S, MemoryGuard
from labkit.support.allocator import give_back

ROOM = 100


class Process:
    """A process of some size, with some flooding and some idle peers."""

    def __init__(self, size: int | None = 1000, room: int = ROOM) -> None:
        self.size = size
        self.flooding = self.idle = 0
        self.all_read = True
        self.dropping = False
        self.hung_up = self.subscribers_hung_up = self.rebound = 0
        self.now = 0.0
        self.guard = MemoryGuard(room, self, lambda: self.size)

    def has_read_all(self) -> bool:
        return self.all_read

    def disconnect(self, flooding: bool) -> int:
        cut = self.idle + (self.flooding if flooding else 0)
        self.idle = 0
        if flooding:
            self.flooding = 0
        self.hung_up += cut > 0
        return cut

    def rebind(self) -> bool:
        self.rebound += self.dropping
        return self.dropping

    def disconnect_subscribers(self) -> None:
        self.subscribers_hung_up += 1

    def look(self, explained: int = 0, after_s: float = LOOK_S) -> int:
        """Let time pass, look, and return how often flooding or idle peers have been disconnected by then."""
        self.now += after_s
        self.guard.look(explained, self.now)
        return self.hung_up


def test_growth_within_the_room_disconnects_no_peer() -> None:
    process = Process()
    process.flooding, process.size = 1, 1000 + ROOM
    assert process.look() == 0
    process.size += 1
    assert process.look() == 1


def test_explained_memory_disconnects_no_peer() -> None:
    process = Process()
    process.flooding, process.size = 1, 9000
    assert process.look(8000) == 0


def test_memory_that_was_once_explained_may_stay() -> None:
    process = Process()
    process.look(8000)
    process.flooding, process.size = 1, 9000
    assert process.look(0) == 0
    process.size = 9000 + ROOM + 1
    assert process.look(0) == 1


def test_less_room_means_an_earlier_next_look() -> None:
    room = 256 << 20
    process = Process(room=room)

    def next_after(left: int) -> float:
        process.size = 1000 + room - left
        process.look()
        return process.guard.look_at - process.now

    assert room / FASTEST < LOOK_S
    assert next_after(room) == pytest.approx(room / FASTEST)
    assert next_after(room // 4) == pytest.approx(room / 4 / FASTEST)
    assert next_after(0) == next_after(-room) == pytest.approx(SOON_S)
    assert next_after(4 * room) == pytest.approx(LOOK_S)


def test_only_idle_peers_are_cut_while_finished_messages_wait() -> None:
    process = Process()
    process.all_read, process.flooding, process.size = False, 1, 1000 + ROOM + 1
    assert process.look() == 0 and process.subscribers_hung_up == 0
    process.idle = 1
    assert process.look() == 1 and process.flooding == 1


def test_beyond_a_second_room_flooding_peers_are_cut_too() -> None:
    process = Process()
    process.all_read, process.flooding, process.size = False, 1, 1000 + 2 * ROOM + 1
    assert process.look() == 1 and process.flooding == 0


def test_a_socket_is_replaced_only_beyond_a_second_room() -> None:
    process = Process()
    process.dropping, process.all_read, process.size = True, False, 1000 + 2 * ROOM
    process.look()
    assert process.rebound == 0
    process.size += 1
    process.look()
    assert process.rebound == 1 and process.subscribers_hung_up == 0


def test_a_returning_attacker_is_cut_each_time_and_gains_no_room() -> None:
    process = Process()
    for times in range(1, 50):
        process.flooding, process.size = 1, 1000 + ROOM + 1
        assert process.look() == times
        process.size = 1000 + ROOM // 2
        process.flooding = 1
        assert process.look(after_s=QUIET_S) == times


def test_without_suspects_subscribers_are_cut_once_and_the_rest_kept() -> None:
    process = Process()
    process.size = 1000 + ROOM + 50
    for _ in range(3):
        process.look(after_s=RETURN_S)
    assert process.subscribers_hung_up == 1
    process.look(after_s=QUIET_S)
    for _ in range(3):
        process.look(after_s=QUIET_S)
    assert process.subscribers_hung_up == 1, "it counts as known from now on"
    process.flooding = 1
    process.size += 40
    assert process.look() == 0
    process.size += 60
    assert process.look() == 1


def test_no_other_peer_is_cut_while_cut_ones_are_ending() -> None:
    process = Process()
    process.flooding, process.size = 1, 1000 + ROOM + 50
    process.look()
    for _ in range(3):
        process.look()
    assert process.hung_up == 1 and process.subscribers_hung_up == 0


def test_unexplained_memory_is_kept_up_to_a_second_room_only() -> None:
    process = Process()
    process.size = 1000 + 10 * ROOM
    for times in range(1, 4):
        process.look(after_s=QUIET_S)
        assert process.subscribers_hung_up == times, "it does not get used to just anything"
        process.look(after_s=QUIET_S)


def test_freed_memory_is_returned_after_the_connections_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(True))
    process = Process()
    process.flooding, process.size = 1, 2000
    process.look()
    process.size = 1000
    assert not given
    process.look(after_s=RETURN_S)
    process.look()
    assert given == [True]


def test_no_peer_is_cut_where_the_size_is_unknown() -> None:
    process = Process(None)
    process.idle = process.flooding = 1
    assert process.look() == 0


def test_the_size_of_this_process_is_known_and_grows() -> None:
    before = memory.resident_bytes()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    after = memory.resident_bytes()
    assert before is not None and after is not None and after - before > 32 << 20
    give_back()
