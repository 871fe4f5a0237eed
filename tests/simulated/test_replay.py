"""A recorded run, replayed: the same arrivals, durations and faults, and how far it is from the recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.core import history as h
from labkit.core.errors import InvalidInput
from labkit.core.history import Event, History, encode_events
from labkit.simulation import mix, replay, simulate
from labkit.simulation.scenario import Place, Strike, uneven

RECORDINGS = Path(__file__).with_name("recordings")
PLACES = (Place(2), Place(), Place(slowness=3.0))


def recording(name: str) -> History:
    """Return a real run of three local workers."""
    return History.from_lines((RECORDINGS / f"{name}.jsonl").read_text().splitlines())


def replayed(recorded: replay.Recorded, seed: int = 1) -> History:
    run = replay.replay(recorded, recorded.scenario, recorded.policy or "least_busy", seed)
    return replay.history_of(run.require_ok())


@pytest.mark.parametrize(
    ("name", "makespan", "task_p95_s"),
    [("uneven", 0.15, 0.01), ("kill", 0.02, 0.02), ("unequal", 0.02, 0.01)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_replay_of_a_real_run_is_close_to_it(
    name: str, makespan: float, task_p95_s: float, seed: int
) -> None:
    """The bounds are those that docs/decisions/simulation/a-replay-and-its-error.md names."""
    history = recording(name)
    again = replayed(replay.read(history), seed)
    apart = replay.distance(replay.from_first_task(history.events), again)
    assert abs(apart.makespan) <= makespan
    assert apart.task_p95_s <= task_p95_s
    assert again.counts().get(h.REQUEUED, 0) == history.counts().get(h.REQUEUED, 0)


def test_the_recorded_workers_are_told_apart_by_their_speed() -> None:
    slowness = {place.name: place.slowness for place in replay.read(recording("unequal")).scenario.places}
    assert slowness["worker-1"] == slowness["worker-2"] == 1.0
    assert slowness["worker-3"] == pytest.approx(3.0, rel=0.1)


def test_uneven_tasks_say_nothing_about_their_workers() -> None:
    assert {place.slowness for place in replay.read(recording("uneven")).scenario.places} == {1.0}


def test_a_kill_and_the_start_after_it_strike_again() -> None:
    recorded = replay.read(recording("kill"))
    assert [(strike.what, strike.target) for strike in recorded.scenario.strikes] == [
        ("kill", "worker-2"),
        ("start", "worker-2"),
    ]


def test_without_faults_nothing_strikes_and_nothing_is_requeued() -> None:
    recorded = replay.read(recording("kill"))
    run = replay.replay(recorded, replay.changed(recorded, without_faults=True), "least_busy").require_ok()
    calm = replay.figures(replay.history_of(run))
    assert calm.requeued == 0
    harmed = replay.figures(replayed(recorded))
    assert calm.makespan_s is not None and harmed.makespan_s is not None
    assert calm.makespan_s < harmed.makespan_s


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
def test_another_number_of_workers_is_what_there_is(workers: int) -> None:
    recorded = replay.read(recording("uneven"))
    scenario = replay.changed(recorded, workers)
    history = replay.history_of(replay.replay(recorded, scenario, "least_busy").require_ok())
    assert len(history.slots()) == workers
    assert [row.outcome for row in history.ledger()] == ["done"] * 60


def test_the_same_recording_and_seed_give_the_same_replay() -> None:
    recorded = replay.read(recording("kill"))
    assert replayed(recorded).events == replayed(recorded).events


@pytest.mark.parametrize("seed", range(12))
def test_whatever_was_recorded_can_be_replayed_and_breaks_no_promise(seed: int) -> None:
    run = simulate(seed, workers=3, tasks=30, faults=mix(seed), safety_s=6.0)
    recorded = replay.read(History.from_lines(encode_events(run.history).splitlines()))
    history = replayed(recorded)
    ended = {row.task for row in history.ledger() if row.outcome}
    assert ended == {one.task.hex() for one in recorded.scenario.works}
    other = replay.changed(recorded, 2, without_faults=True)
    replay.replay(recorded, other, "round_robin").require_ok()


# --- what is read from the events ---------------------------------------------------------------------------


def simulated(*strikes: Strike) -> list[Event]:
    """Return the events of a run of unequal workers, with these strikes."""
    scenario = replace(uneven(3, 25, PLACES, 0.1), strikes=strikes)
    return simulate(3, faults=(), safety_s=5.0, scenario=scenario).require_ok().history


def strikes_of(events: list[Event]) -> list[tuple[str, str]]:
    strikes = replay.read(History(events)).scenario.strikes
    return [(strike.what, strike.target) for strike in strikes if strike.what != "heal"]


def without_notes(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind != h.FAULT]


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_a_crash_that_nobody_noted_is_a_kill_and_its_return_a_start(worker: str) -> None:
    events = simulated(Strike(1.0, "kill", worker), Strike(2.0, "start", worker))
    assert strikes_of(without_notes(events))[:2] == [("kill", worker), ("start", worker)]


def test_a_silence_that_nobody_noted_is_a_freeze_before_it_was_noticed() -> None:
    events = without_notes(simulated(Strike(1.0, "pause", "worker-2"), Strike(4.2, "resume", "worker-2")))
    lost = next(event.at for event in events if event.kind == h.LOST)
    recorded = replay.read(History(events))
    first = recorded.scenario.strikes[0]
    submitted = next(event.at for event in events if event.kind == h.SUBMITTED)
    assert (first.what, first.target) == ("pause", "worker-2")
    assert first.at - replay.BEGIN_S == pytest.approx(lost - 2.0 - submitted)
    assert ("resume", "worker-2") in strikes_of(events)


def test_a_polite_stop_that_nobody_noted_is_a_stop() -> None:
    events = simulated(Strike(1.0, "stop", "worker-2"))
    assert strikes_of(without_notes(events))[0] == ("stop", "worker-2")


def test_a_noted_fault_strikes_once() -> None:
    events = simulated(Strike(1.0, "kill", "worker-2"), Strike(2.0, "start", "worker-2"))
    assert strikes_of(events)[:2] == [("kill", "worker-2"), ("start", "worker-2")]


def test_a_new_broker_is_started_again() -> None:
    events = simulated(Strike(1.0, "kill", "broker"), Strike(1.5, "start", "broker"))
    assert strikes_of(events) == [("kill", "broker"), ("start", "broker")]
    assert strikes_of(without_notes(events)) == [("kill", "broker"), ("start", "broker")]


def test_the_end_of_the_cluster_is_not_replayed() -> None:
    """A slower policy still needs the workers that left when the recorded work was done."""
    events = [event for event in simulated() if event.kind != h.FAULT]
    last = max(number for number, event in enumerate(events) if event.kind in h.OUTCOMES)
    workers = {event.worker for event in events if event.kind == h.JOINED}
    end = [Event(events[last].at + 1, kind, worker=name) for name in workers for kind in (h.DRAINING, h.LEFT)]
    events = [*events[: last + 1], *end, Event(events[last].at + 2, h.BROKER_STOPPED)]
    assert strikes_of(events) == []


def test_a_worker_in_a_container_that_is_killed_joins_again_with_the_same_number() -> None:
    """In a container each process may have the number 1."""
    events = [
        event._replace(detail={**event.detail, "pid": 1}) if event.kind == h.JOINED else event
        for event in simulated(Strike(1.0, "kill", "worker-2"), Strike(2.0, "start", "worker-2"))
    ]
    assert strikes_of(events)[:2] == [("kill", "worker-2"), ("start", "worker-2")]


def test_a_worker_that_joined_later_starts_later() -> None:
    events = [event for event in simulated() if event.worker != "worker-3"]
    submitted = next(event.at for event in events if event.kind == h.SUBMITTED)
    events.insert(len(events) // 2, Event(submitted + 1.5, h.JOINED, worker="late", detail={"slots": 2}))
    tasks = {event.task for event in events if event.kind == h.DONE}
    history = History([event for event in events if not event.task or event.task in tasks])
    late = next(place for place in replay.read(history).scenario.places if place.name == "late")
    assert late.slots == 2
    assert late.starts_at == pytest.approx(replay.BEGIN_S + 1.5)


@pytest.mark.parametrize("faults", [("error",), ("cancel",), ("poison",), ("hang",)])
def test_a_task_ends_as_it_did_if_that_was_of_its_own_making(faults: tuple[str, ...]) -> None:
    run = simulate(5, workers=3, tasks=60, faults=faults, safety_s=5.0)
    history = replay.from_first_task(run.history)
    again = {row.task: row for row in replayed(replay.read(history)).ledger()}
    codes = ("ERROR", "POISONED", "HUNG")
    odd = [row for row in history.ledger() if row.code in codes]
    assert odd or faults == ("cancel",)
    assert [again[row.task].code for row in odd] == [row.code for row in odd]


# --- recordings that cannot be replayed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "holds no event"),
        ([event for event in simulated() if not event.task], "no task was submitted"),
        (simulated()[40:], "begins in the middle"),
        ([event for event in simulated() if event.kind != h.JOINED], "the joining of worker-"),
        ([event for event in simulated() if event.kind == h.SUBMITTED], "no worker joined"),
        (
            [*simulated(), Event(0.0 - 50.0, h.BROKER_STARTED), Event(-49.0, h.SUBMITTED, "ab" * 16)],
            "its clock goes back",
        ),
        ([*simulated(), Event(90_000.0, h.BROKER_STOPPED)], "25 tasks in 9"),
    ],
)
def test_what_cannot_be_replayed_says_why(events: list[Event], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        replay.read(History(events))
