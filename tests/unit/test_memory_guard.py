"""The bound for memory that the broker cannot see, with a size and a clock of the test's own."""

from __future__ import annotations

import pytest

from labkit.broker import memory
from labkit.broker.memory import LOOK_S, QUIET_S, RETURN_S, MemoryGuard

ROOM = 100


class Process:
    """A process of some size, with some silent peers."""

    def __init__(self, size: int | None = 1000) -> None:
        self.size = size
        self.silent = 0
        self.hung_up = 0
        self.now = 0.0
        self.guard = MemoryGuard(ROOM, self._hang_up, lambda: self.silent, lambda: self.size)

    def _hang_up(self) -> None:
        self.hung_up += 1
        self.silent = 0

    def look(self, explained: int = 0, after_s: float = LOOK_S) -> int:
        """Let time pass, look, and return how often the silent were hung up on by then."""
        self.now += after_s
        self.guard.look(explained, self.now)
        return self.hung_up


def test_growth_within_the_room_is_nobodys_fault() -> None:
    process = Process()
    process.silent = 1
    process.size = 1000 + ROOM
    assert process.look() == 0
    process.size += 1
    assert process.look() == 1


def test_what_is_accounted_for_is_no_reason() -> None:
    process = Process()
    process.size = 9000
    assert process.look(8000) == 0


def test_what_was_ever_accounted_for_may_stay_with_the_process() -> None:
    process = Process()
    process.look(8000)
    process.size = 9000
    assert process.look(0) == 0
    process.size = 9000 + ROOM + 1
    assert process.look(0) == 1


def test_one_who_comes_back_and_goes_on_is_hung_up_on_again_and_again_and_never_gets_more_room() -> None:
    process = Process()
    for times in range(1, 50):
        process.silent, process.size = 1, 1000 + ROOM + 1
        assert process.look() == times
        process.size = 1000 + ROOM // 2
        process.silent = 1
        process.look(after_s=QUIET_S)


def test_with_nobody_to_blame_it_hangs_up_once_and_lives_with_what_is_left() -> None:
    process = Process()
    process.size = 1000 + ROOM + 50
    assert process.look() == 1
    assert process.look() == process.look() == 1
    assert process.look(after_s=QUIET_S) == 1
    process.silent = 1
    assert process.look() == 1
    process.size += ROOM
    assert process.look() == 2


def test_what_is_left_is_lived_with_up_to_a_second_room_only() -> None:
    process = Process()
    process.size = 1000 + 10 * ROOM
    assert process.look() == 1
    assert process.look(after_s=QUIET_S) == 2, "it does not get used to just anything"


def test_freed_memory_is_given_back_once_the_connections_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(True))
    process = Process()
    process.silent, process.size = 1, 2000
    process.look()
    process.size = 1000
    assert not given
    process.look(after_s=RETURN_S)
    process.look()
    assert given == [True]


def test_where_the_size_is_unknown_nobody_is_hung_up_on() -> None:
    process = Process(None)
    process.silent = 1
    assert process.look() == 0


def test_the_size_of_this_process_is_known_here_and_grows_with_what_it_holds() -> None:
    before = memory.resident_bytes()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    after = memory.resident_bytes()
    assert before is not None and after is not None and after - before > 32 << 20
    memory.give_back()
