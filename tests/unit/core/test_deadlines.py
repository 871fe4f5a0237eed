"""Deadlines: never early, at most a tick late, and never forgotten."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.core.deadlines import Deadlines

TICK_S = 0.05
ROUNDING = 1e-9

instants = st.floats(0.0, 5.0)
names = st.integers(0, 9).map(lambda number: bytes([number]))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), names, instants),
        st.tuples(st.just("disarm"), names, st.just(0.0)),
        st.tuples(st.just("expire"), names, st.floats(0.0, 0.5)),
    ),
    max_size=50,
)


@settings(max_examples=150)
@given(operations)
def test_deadlines_agree_with_a_plain_list(steps: list[tuple[str, bytes, float]]) -> None:
    timers = Deadlines(TICK_S)
    now = 0.0
    model: dict[bytes, tuple[float, int]] = {}  # name -> its deadline and tick
    for what, name, value in steps:
        if what == "arm" and name not in model:
            model[name] = now + value, timers.arm(name, now + value)
        elif what == "disarm" and name in model:
            timers.disarm(name, model.pop(name)[1])
        elif what == "expire":
            now += value
            expired = timers.expire(now)
            assert all(model[name][0] <= now + ROUNDING for name in expired), "early"
            assert [model[name][1] for name in expired] == sorted(model[name][1] for name in expired)
            for name in expired:
                del model[name]
            assert all(at > now - TICK_S - ROUNDING for at, _ in model.values()), "more than a tick late"
        due = timers.next_deadline()
        assert (due is None) == (not model)
        if due is not None:
            first = min(at for at, _ in model.values())
            assert first - ROUNDING <= due <= first + TICK_S + ROUNDING
        assert all(timers.armed(name, tick) for name, (_, tick) in model.items())


@given(st.floats(0.0, 1e6))
def test_deadline_is_never_early_and_is_due_when_next_deadline_says(at: float) -> None:
    timers = Deadlines(TICK_S)
    timers.arm(b"a", at)
    assert timers.expire(at - TICK_S / 1000) == []
    due = timers.next_deadline()
    assert due is not None
    assert timers.expire(due) == [b"a"]


def test_each_deadline_expires_once() -> None:
    timers = Deadlines()
    timers.arm(b"a", 1.0)
    assert timers.expire(2.0) == [b"a"]
    assert timers.expire(3.0) == []


def test_earliest_tick_comes_first() -> None:
    timers = Deadlines()
    for name, at in ((b"late", 3.0), (b"early", 1.0), (b"middle", 2.0)):
        timers.arm(name, at)
    assert timers.expire(9.0) == [b"early", b"middle", b"late"]


def test_disarmed_deadline_does_not_expire() -> None:
    timers = Deadlines()
    tick = timers.arm(b"a", 1.0)
    timers.arm(b"b", 1.0)
    timers.disarm(b"a", tick)
    assert not timers.armed(b"a", tick)
    assert timers.expire(2.0) == [b"b"]


def test_disarming_an_expired_deadline_is_harmless() -> None:
    timers = Deadlines()
    tick = timers.arm(b"a", 1.0)
    timers.expire(2.0)
    timers.disarm(b"a", tick)
    assert timers.next_deadline() is None


def test_tick_is_reusable_after_its_last_deadline_was_disarmed() -> None:
    timers = Deadlines()
    timers.disarm(b"a", timers.arm(b"a", 1.0))
    timers.arm(b"b", 1.0)
    assert timers.expire(2.0) == [b"b"]


def test_nothing_is_due_without_deadlines() -> None:
    assert Deadlines().next_deadline() is None
    assert Deadlines().expire(1e9) == []
