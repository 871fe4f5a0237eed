"""The bound for memory that the broker cannot see, with a size and a clock of the test's own."""

from __future__ import annotations

import pytest

from labkit.broker import memory
from labkit.broker.memory import FASTEST, LOOK_S, QUIET_S, RETURN_S, SOON_S, MemoryGuard

ROOM = 100


class Process:
    """A process of some size, with some peers who are loud or silent."""

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
        """Let time pass, look, and return how often somebody who is loud or silent was hung up on by then."""
        self.now += after_s
        self.guard.look(explained, self.now)
        return self.hung_up


def test_growth_within_the_room_is_nobodys_fault() -> None:
    process = Process()
    process.flooding, process.size = 1, 1000 + ROOM
    assert process.look() == 0
    process.size += 1
    assert process.look() == 1


def test_what_is_accounted_for_is_no_reason() -> None:
    process = Process()
    process.flooding, process.size = 1, 9000
    assert process.look(8000) == 0


def test_what_was_ever_accounted_for_may_stay_with_the_process() -> None:
    process = Process()
    process.look(8000)
    process.flooding, process.size = 1, 9000
    assert process.look(0) == 0
    process.size = 9000 + ROOM + 1
    assert process.look(0) == 1


def test_the_less_room_is_left_the_sooner_it_is_looked_at_again() -> None:
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


def test_while_finished_messages_wait_to_be_read_only_the_silent_are_hung_up_on() -> None:
    process = Process()
    process.all_read, process.flooding, process.size = False, 1, 1000 + ROOM + 1
    assert process.look() == 0 and process.subscribers_hung_up == 0
    process.idle = 1
    assert process.look() == 1 and process.flooding == 1


def test_but_not_beyond_a_second_room() -> None:
    process = Process()
    process.all_read, process.flooding, process.size = False, 1, 1000 + 2 * ROOM + 1
    assert process.look() == 1 and process.flooding == 0


def test_only_beyond_a_second_room_is_a_buried_socket_given_up() -> None:
    process = Process()
    process.dropping, process.all_read, process.size = True, False, 1000 + 2 * ROOM
    process.look()
    assert process.rebound == 0
    process.size += 1
    process.look()
    assert process.rebound == 1 and process.subscribers_hung_up == 0


def test_one_who_comes_back_and_goes_on_is_hung_up_on_again_and_again_and_never_gets_more_room() -> None:
    process = Process()
    for times in range(1, 50):
        process.flooding, process.size = 1, 1000 + ROOM + 1
        assert process.look() == times
        process.size = 1000 + ROOM // 2
        process.flooding = 1
        assert process.look(after_s=QUIET_S) == times


def test_with_nobody_to_blame_the_subscribers_are_hung_up_on_once_and_what_is_left_is_lived_with() -> None:
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


def test_while_those_who_were_hung_up_on_take_their_time_nobody_else_has_to_go() -> None:
    process = Process()
    process.flooding, process.size = 1, 1000 + ROOM + 50
    process.look()
    for _ in range(3):
        process.look()
    assert process.hung_up == 1 and process.subscribers_hung_up == 0


def test_what_is_left_is_lived_with_up_to_a_second_room_only() -> None:
    process = Process()
    process.size = 1000 + 10 * ROOM
    for times in range(1, 4):
        process.look(after_s=QUIET_S)
        assert process.subscribers_hung_up == times, "it does not get used to just anything"
        process.look(after_s=QUIET_S)


def test_freed_memory_is_given_back_once_the_connections_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_where_the_size_is_unknown_nobody_is_hung_up_on() -> None:
    process = Process(None)
    process.idle = process.flooding = 1
    assert process.look() == 0


def test_the_size_of_this_process_is_known_here_and_grows_with_what_it_holds() -> None:
    before = memory.resident_bytes()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    after = memory.resident_bytes()
    assert before is not None and after is not None and after - before > 32 << 20
    memory.give_back()
