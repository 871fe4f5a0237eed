"""The autoscaler: quick to grow, slow to shrink, always within its bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.core.autoscaler import Autoscaler, Decision, Limits, Load, load_of
from labkit.core.errors import InvalidInput
from tests.tools.scheduling import Lab, an_id

LIMITS = Limits(least=1, most=8, target_s=2.0, calm_s=10.0, settle_s=3.0)
LOOK_S = 0.5


def load(size: int, work_s: float = 0.0, tasks: int = 1000, **changed: int) -> Load:
    """Return the load of a cluster whose workers have one slot each, are ready, and busy if there is work."""
    fields = {"size": size, "ready": size, "slots": size, "busy": size if work_s else 0, **changed}
    return Load(open_tasks=tasks if work_s else 0, work_s=work_s, **fields)


class Service:
    """The simplest cluster: work arrives at a rate, and each worker does a second of it per second."""

    def __init__(self, limits: Limits, size: int = 1, start_s: float = 1.0) -> None:
        self.autoscaler = Autoscaler(limits, 0.0)
        self.now = 0.0
        self.size = size
        self.work_s = 0.0
        self.sizes: list[int] = []
        self.backlogs: list[float] = []
        self._start_s = start_s
        self._up_at = [0.0] * size

    def live(self, seconds: float, rate: float, task_s: float = 0.05) -> Service:
        """Let so many seconds of work arrive per second, in tasks of ``task_s``."""
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            ready = sum(at <= self.now for at in self._up_at)
            self.work_s = max(0.0, self.work_s + (rate - ready) * LOOK_S)
            shown = self.work_s + min(rate, ready) * task_s
            busy = min(ready, math.ceil(rate if self.work_s == 0 else ready))
            seen = Load(self.size, ready, ready, busy, math.ceil(shown / task_s), shown)
            decision = self.autoscaler.observe(seen, self.now)
            if decision is not None:
                self.size = decision.size
                self._up_at = self._up_at[: self.size]
                self._up_at += [self.now + self._start_s] * (self.size - len(self._up_at))
            self.sizes.append(self.size)
            self.backlogs.append(self.work_s)
        return self


# --- growing ------------------------------------------------------------------------------------------------


def test_size_grows_to_do_the_open_work_in_time() -> None:
    assert Autoscaler(LIMITS, 0.0).observe(load(2, work_s=7.9), 1.0) == Decision(4, 2, 1000, 7.9)


def test_slots_count_and_not_workers() -> None:
    seen = load(2, work_s=11.0, slots=6, busy=6)
    assert Autoscaler(LIMITS, 0.0).observe(seen, 1.0) is None  # 2 workers of 3 slots do 12 s in 2 s
    seen = load(2, work_s=13.0, slots=6, busy=6)
    decision = Autoscaler(LIMITS, 0.0).observe(seen, 1.0)
    assert decision is not None
    assert decision.size == 3


def test_size_at_most_doubles_in_one_step() -> None:
    decision = Autoscaler(LIMITS, 0.0).observe(load(2, work_s=1000.0), 1.0)
    assert decision is not None
    assert decision.size == 4


def test_size_grows_again_only_after_the_new_workers_joined() -> None:
    autoscaler = Autoscaler(LIMITS, 0.0)
    assert autoscaler.observe(load(1, work_s=100.0), 1.0) is not None
    assert autoscaler.observe(load(2, work_s=100.0, ready=1), 1.5) is None
    decision = autoscaler.observe(load(2, work_s=100.0), 2.0)
    assert decision is not None
    assert decision.size == 4


def test_workers_that_do_not_join_are_not_awaited_for_ever() -> None:
    autoscaler = Autoscaler(LIMITS, 0.0)
    assert autoscaler.observe(load(1, work_s=100.0), 1.0) is not None
    assert autoscaler.observe(load(2, work_s=100.0, ready=1), 3.9) is None
    assert autoscaler.observe(load(2, work_s=100.0, ready=1), 4.0) is not None


def test_more_workers_than_tasks_are_useless() -> None:
    decision = Autoscaler(LIMITS, 0.0).observe(load(2, work_s=300.0, tasks=3), 1.0)
    assert decision is not None
    assert decision.size == 3


def test_one_task_is_enough_for_a_first_worker() -> None:
    autoscaler = Autoscaler(Limits(least=0, most=2), 0.0)
    assert autoscaler.observe(Load(0, 0, 0, 0, 0, 0.0), 1.0) is None
    assert autoscaler.observe(Load(0, 0, 0, 0, 5, 0.0), 1.5) == Decision(1, 0, 5, 0.0)


# --- shrinking ----------------------------------------------------------------------------------------------


def test_size_shrinks_after_the_calm_to_the_most_needed_during_it() -> None:
    autoscaler = Autoscaler(LIMITS, 0.0)
    needs = {5.0: 5.9}  # three workers' work, once
    decisions = [
        (now, autoscaler.observe(load(6, work_s=needs.get(now, 0.1), busy=0), now))
        for now in (n * LOOK_S for n in range(1, 29))
    ]
    taken = [(now, decision) for now, decision in decisions if decision is not None]
    assert taken[0] == (10.0, Decision(3, 6, 1000, 0.1))


def test_computing_workers_are_needed_however_little_is_open() -> None:
    autoscaler = Autoscaler(LIMITS, 0.0)
    for n in range(1, 100):
        assert autoscaler.observe(load(3, work_s=0.001, tasks=3), n * LOOK_S) is None


def test_after_a_step_there_is_calm_before_it_shrinks() -> None:
    autoscaler = Autoscaler(LIMITS, 0.0)
    assert autoscaler.observe(load(2, work_s=7.0), 30.0) is not None
    quiet = [now for now in (30.0 + n * LOOK_S for n in range(1, 30)) if autoscaler.observe(load(4), now)]
    assert quiet[0] > 40.0


# --- bounds -------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 5), st.integers(1, 20),
    st.lists(
        st.tuples(st.integers(0, 30), st.floats(0, 1e6), st.integers(0, 10_000), st.floats(0, 5)), max_size=60
    ),
)  # fmt: skip
def test_size_stays_within_its_bounds_and_returns_to_them(
    least: int, more: int, looks: list[tuple[int, float, int, float]]
) -> None:
    autoscaler = Autoscaler(Limits(least, least + more, 1.0, 5.0, 2.0), 0.0)
    now = 0.0
    for size, work_s, tasks, passed_s in looks:
        now += passed_s
        decision = autoscaler.observe(load(size, work_s, tasks), now)
        wanted = size if decision is None else decision.size
        assert least <= wanted <= least + more
        assert decision is None or decision.size != decision.before == size


@pytest.mark.parametrize(
    "fields",
    [
        {"least": 3, "most": 2}, {"least": -1}, {"least": 0, "most": 0}, {"target_s": 0.0},
        {"calm_s": -1.0}, {"settle_s": math.nan}, {"target_s": math.inf},
    ],
)  # fmt: skip
def test_limits_that_cannot_be_kept_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        Limits(**fields)  # type: ignore[arg-type]


# --- in a loop with what it steers --------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.3, 1.0, 2.4, 4.0, 6.6])
@pytest.mark.parametrize("task_s", [0.001, 0.05, 1.0])
def test_steady_load_has_a_bounded_backlog_and_a_stable_size(rate: float, task_s: float) -> None:
    service = Service(LIMITS).live(120, rate, task_s)
    late = service.sizes[len(service.sizes) // 2 :]
    assert len(set(late)) == 1, f"it flaps: {late}"
    assert late[0] >= rate
    assert max(service.backlogs) <= 8 * (LIMITS.target_s + 3.0)
    assert service.backlogs[-1] <= late[0] * LIMITS.target_s


def test_workers_are_gone_after_the_calm_without_load() -> None:
    service = Service(LIMITS).live(60, 5.0)
    assert service.size >= 5
    gone_at = len(service.sizes)
    service.live(60, 0.0)
    assert service.size == LIMITS.least
    after_s = [LOOK_S * n for n, size in enumerate(service.sizes[gone_at:]) if size == LIMITS.least]
    assert after_s[0] >= LIMITS.calm_s - 1.0


def test_waves_shorter_than_the_calm_do_not_change_the_size() -> None:
    service = Service(LIMITS)
    for _ in range(10):
        service.live(4, 5.0).live(4, 0.5)
    late = service.sizes[len(service.sizes) // 2 :]
    steps = sum(a != b for a, b in zip(late, late[1:], strict=False))
    assert steps <= 1, late


# --- what it is shown ---------------------------------------------------------------------------------------


def a_lab(*tasks: int) -> Lab:
    """Return a broker with two workers, of two slots and of one, and these tasks."""
    lab = Lab()
    lab.worker("w1", slots=2)
    lab.worker("w2")
    lab.client()
    for number in tasks:
        lab.submit(number)
    return lab


def test_load_is_read_from_the_brokers_status() -> None:
    lab = a_lab(1, 2, 3, 4)
    lab.worker("w3", slots=4)
    lab.pass_time(1.5, "w1", "w2")  # w3 is suspect
    own = {"w1", "w2", "w3", "w4", "w5"}
    assert load_of(lab.status(), own) == Load(5, ready=2, slots=3, busy=3, open_tasks=4, work_s=0.0)


def test_guest_workers_are_not_part_of_the_load() -> None:
    lab = a_lab(1, 2, 3, 4)
    lab.worker("w-guest", slots=4)
    lab.tick()
    assert load_of(lab.status(), {"w1", "w2"}) == Load(2, ready=2, slots=3, busy=3, open_tasks=4, work_s=0.0)


def test_open_work_is_estimated_from_past_runs_of_each_job() -> None:
    lab = a_lab(1)
    lab.done(an_id(1))  # it took 0.01 s
    for number in range(10, 2_000 + 10):
        lab.submit(number, tick=False)
    lab.tick()
    assert lab.status()["open_work_s"] == pytest.approx(20.0)


def test_job_without_a_finished_run_is_expected_to_take_its_longest_run() -> None:
    lab = a_lab(1, 2, 3, 4, 5)
    first = next(route for route in ("w1", "w2") if (an_id(1), 1) in lab.tasks_of(route))
    lab.start(an_id(1), first)
    lab.pass_time(2.0, "w1", "w2")
    assert lab.status()["open_work_s"] == pytest.approx(5 * 2.0)
