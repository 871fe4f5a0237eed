"""A process that only waits for its own tasks is reported when it has been quiet, and not a moment longer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from labkit.core.peers.client_events import WaitsNow
from labkit.core.peers.quiet_process import QuietProcess
from tests.tools.sessions import RULES, A, B, C

OUTER = frozenset({(C, 1)})
QUIET_S = RULES.heartbeat_s


class Looks:
    """A process that is looked at twice in ``heartbeat_s``."""

    def __init__(self) -> None:
        self.process = QuietProcess(RULES)
        self.now = 10.0

    def look(
        self,
        threads: Mapping[int, Hashable | None],
        awaited: tuple[bytes, ...] = (A, B),
        tasks: frozenset[tuple[bytes, int]] = OUTER,
        times: int = 1,
    ) -> list[WaitsNow]:
        reports: list[WaitsNow] = []
        for _ in range(times):
            self.now += QUIET_S / 2
            reports += self.process.look(threads, tasks, awaited, self.now)
        return reports


def test_a_quiet_process_is_reported_once() -> None:
    looks = Looks()
    assert looks.look({1: "a", 2: "b"}, times=2) == []
    assert looks.look({1: "a", 2: "b"}, times=5) == [WaitsNow(C, 1, (A, B))]


def test_one_active_thread_may_set_all_others_free() -> None:
    assert Looks().look({1: "a", 2: None}, times=20) == []


def test_a_thread_that_has_run_begins_the_quiet_time_anew() -> None:
    looks = Looks()
    assert [looks.look({1: number}, times=2) for number in range(10)] == [[]] * 10


def test_the_first_change_withdraws_the_report() -> None:
    looks = Looks()
    looks.look({1: "a"}, times=3)
    assert looks.look({1: None}) == [WaitsNow(C, 1, ())]
    assert looks.look({1: "a"}, times=3) == [WaitsNow(C, 1, (A, B))]


def test_an_outcome_withdraws_it_and_so_does_the_last_one() -> None:
    looks = Looks()
    looks.look({1: "a"}, times=3)
    assert looks.look({1: "a"}, awaited=(B,)) == [WaitsNow(C, 1, ())]
    assert looks.look({1: "a"}, awaited=(B,), times=3) == [WaitsNow(C, 1, (B,))]
    assert looks.look({1: "a"}, awaited=(), times=5) == [WaitsNow(C, 1, ())]


def test_every_task_of_the_process_is_reported() -> None:
    both = frozenset({(C, 1), (b"d" * 16, 2)})
    assert set(Looks().look({1: "a", 2: "b"}, tasks=both, times=3)) == {
        WaitsNow(C, 1, (A, B)),
        WaitsNow(b"d" * 16, 2, (A, B)),
    }
