"""The last fault's chain: the same instants as a History of the same events, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from labkit.core import history as h
from labkit.core.history import Event, History, LiveView
from labkit.gateway.last_fault import LastFault
from labkit.simulation import simulate
from tests.tools.made_histories import CLOCK, note, run, with_notes


def followed(events: Sequence[Event]) -> LastFault:
    view, fault = LiveView(), LastFault()
    for event in events:
        t = event.at - (event.at if view.began_at is None else view.began_at)
        fault.add(event, t, view)
        view.add(event)
        fault.settle(t)
    return fault


def killed(**options: float | int | bool | None) -> list[Event]:
    return run(tasks=600, kill_at=4.0, back_after=3.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_gives_the_historys_chain(seed: int) -> None:
    events = killed(seed=seed)
    chain = followed(events).chain
    (truth,) = History(events).recoveries()
    assert chain is not None
    assert (chain.fault, chain.target, chain.cause) == (truth.fault, truth.target, truth.cause)
    assert [chain.began_at, chain.noticed_at, chain.requeued_at, chain.elsewhere_at] == pytest.approx(
        [truth.fault_at, truth.detected_at, truth.requeued_at, truth.first_result_elsewhere_at]
    )
    assert chain.held == len(truth.held) and not chain.open
    assert chain.recovery_s == pytest.approx(truth.recovery_s)
    assert chain.restored_at is not None and truth.restored_at is not None
    assert chain.restored_at == pytest.approx(truth.restored_at, abs=0.5)


def test_a_loss_without_a_command_is_a_fault_too() -> None:
    events = killed(injected=False)
    chain = followed(events).chain
    (truth,) = History(events).recoveries()
    assert chain is not None and (chain.fault, chain.target) == ("", truth.target)
    assert chain.began_at == pytest.approx(truth.detected_at)
    assert chain.elsewhere_at == pytest.approx(truth.first_result_elsewhere_at)


def test_what_the_others_did_while_it_was_away_is_counted() -> None:
    events = killed()
    chain = followed(events).chain
    assert chain is not None and chain.noticed_at is not None and chain.back_at is not None
    truth = History(events).share(since=chain.noticed_at, until=chain.back_at)
    assert {name: n for name, n in truth.items() if n} == dict(chain.results)
    assert chain.target not in chain.results and chain.failed == 0


def test_too_few_results_before_the_fault_are_no_usual_rate() -> None:
    chain = followed(run(tasks=6, kill_at=0.6, seconds=(0.3, 0.4), back_after=1.0)).chain
    assert chain is not None and chain.noticed_at is not None
    assert (chain.restored_at, chain.unrestored) == (None, "few_before")


def test_a_polite_stop_and_a_start_are_no_faults() -> None:
    events = [
        Event(CLOCK, h.BROKER_STARTED, detail={"epoch": "e1"}),
        Event(CLOCK + 1, h.JOINED, "", 0, "worker-1"),
        Event(CLOCK + 2, h.FAULT, detail={"fault": "stop", "target": "worker-1"}),
        Event(CLOCK + 3, h.FAULT, detail={"fault": "start", "target": "worker-1"}),
    ]
    assert followed(events).chain is None


def test_a_freeze_that_ends_before_the_broker_notices_is_no_fault() -> None:
    events = [
        Event(CLOCK, h.BROKER_STARTED, detail={"epoch": "e1"}),
        Event(CLOCK + 1, h.JOINED, "", 0, "worker-1"),
        Event(CLOCK + 2, h.FAULT, detail={"fault": "pause", "target": "worker-1"}),
    ]
    paused = followed(events).chain
    assert paused is not None and (paused.fault, paused.noticed_at) == ("pause", None)
    resumed = Event(CLOCK + 3, h.FAULT, detail={"fault": "resume", "target": "worker-1"})
    assert followed([*events, resumed]).chain is None
    heard = [Event(CLOCK + 2.5, h.SUSPECT, "", 0, "worker-1"), Event(CLOCK + 3, h.ALIVE, "", 0, "worker-1")]
    assert followed([*events, *heard]).chain is None
    lost = Event(CLOCK + 4, h.LOST, "", 0, "worker-1", {"cause": "silent"})
    chain = followed([*events, lost, resumed._replace(at=CLOCK + 5)]).chain
    assert chain is not None and (chain.noticed_at, chain.cause, chain.back_at) == (4, "silent", None)


def test_after_a_fault_without_consequences_the_one_before_is_shown_again() -> None:
    events = killed()
    end = events[-1].at
    for at, fault in ((end + 1, "pause"), (end + 2, "resume")):
        events.append(Event(at, h.FAULT, detail={"fault": fault, "target": "worker-1"}))
    chain = followed(events).chain
    assert chain is not None and (chain.fault, chain.target) == ("kill", "worker-2")


def test_a_kill_of_redis_is_no_fault_of_the_tasks() -> None:
    events = [
        Event(CLOCK, h.BROKER_STARTED, detail={"epoch": "e1"}),
        Event(CLOCK + 1, h.FAULT, detail={"fault": "kill", "target": "redis"}),
    ]
    assert followed(events).chain is None


def test_a_new_broker_that_finds_open_tasks_is_a_fault_of_the_broker() -> None:
    submitted = {"job": "labkit.jobs:add", "client": "c", "bytes": 1}
    events = [
        Event(CLOCK, h.BROKER_STARTED, detail={"epoch": "e1"}),
        Event(CLOCK + 1, h.SUBMITTED, "a", detail=submitted),
        Event(CLOCK + 2, h.DISPATCHED, "a", 1, "worker-1"),
        Event(CLOCK + 5, h.BROKER_STARTED, detail={"epoch": "e2"}),
        Event(CLOCK + 6, h.SUBMITTED, "a", detail=submitted),
        Event(CLOCK + 7, h.DONE, "a", 1, "worker-1", {"compute_s": 0.1, "bytes": 1}),
    ]
    chain = followed(events).chain
    assert chain is not None
    assert (chain.target, chain.noticed_at, chain.requeued_at, chain.elsewhere_at) == ("broker", 5, 6, 7)
    assert chain.held == 1 and not chain.open


@pytest.mark.parametrize("seed", range(3))
def test_any_simulated_run_is_followed_and_no_task_of_the_last_fault_stays_open(seed: int) -> None:
    events = list(simulate(seed, tasks=80, faults=("kill",)).history)
    fault = followed(events)
    truths = [truth for truth in History(events).recoveries() if truth.target != "broker"]
    if fault.chain is not None and truths and fault.chain.target != "broker":
        assert fault.chain.target in {truth.target for truth in truths}
        assert not fault.chain.open


def test_a_short_freeze_of_another_worker_leaves_a_recovery_under_way() -> None:
    """The kill's chain is not complete yet when another worker freezes and wakes."""
    for freeze in (4.05, 4.005):  # after the broker has noticed the kill, and before
        pause = note(freeze, h.FAULT, fault="pause", target="worker-3")
        resume = note(4.3, h.FAULT, fault="resume", target="worker-3")
        chain = followed(with_notes(killed(), pause, resume)).chain
        assert chain is not None and (chain.fault, chain.target) == ("kill", "worker-2")
        assert chain.elsewhere_at is not None and chain.restored_at is not None and not chain.open
        until_then = [event for event in with_notes(killed(), pause) if event.at <= CLOCK + 4.2]
        shown = followed(until_then).chain
        assert shown is not None and shown.target == "worker-2", "an unnoticed freeze hides nothing"


def test_a_second_fault_that_is_noticed_takes_the_first_ones_place() -> None:
    lost = note(4.5, h.LOST, "worker-3", cause="closed")
    kill = note(4.4, h.FAULT, fault="kill", target="worker-3")
    events = [event for event in with_notes(killed(), kill, lost) if event.at <= CLOCK + 4.5]
    chain = followed(events).chain
    assert chain is not None and (chain.fault, chain.target) == ("kill", "worker-3")
    assert (chain.began_at, chain.noticed_at) == pytest.approx((4.4, 4.5))


def test_shares_before_a_fault_stay_what_they_were() -> None:
    chain = followed(killed()).chain
    truth = History(killed()).share(since=1.0, until=4.0)
    assert chain is not None and chain.before == truth and min(truth.values()) > 12


def test_shares_stand_in_the_order_of_the_names() -> None:
    """Workers join in any order; the shares have no names beside them."""
    events = [note(0, h.BROKER_STARTED)]
    events += [note(0.1, h.JOINED, f"worker-{n}") for n in (10, 2, 1)]
    events += [note(1, h.FAULT, fault="kill", target="worker-2"), note(1, h.LOST, "worker-2", cause="closed")]
    chain = followed(events).chain
    assert chain is not None and list(chain.before) == ["worker-1", "worker-2", "worker-10"]


def frozen_broker(silence: float, *after: Event) -> list[Event]:
    """Return work that a broker interrupts: frozen two seconds after its start, with four tasks open."""
    events = [note(0, h.BROKER_STARTED, epoch="e1")]
    for n in (1, 2):
        events += [note(0.1, h.JOINED, f"worker-{n}")]
    for task in "abcd":
        events += [note(1, h.SUBMITTED, "", task, job="labkit.jobs:add", client="c", bytes=1)]
    for n, task in ((1, "a"), (2, "b")):
        events += [
            note(1.9, h.DISPATCHED, f"worker-{n}", task, 1),
            note(1.9, h.STARTED, f"worker-{n}", task, 1),
        ]
    events += [note(2, h.FAULT, fault="pause", target="broker")]
    return [*events, *(event._replace(at=event.at + 2 + silence) for event in after)]


def test_a_frozen_broker_is_a_fault_of_the_broker_and_not_of_the_workers_it_loses() -> None:
    chain = followed(
        frozen_broker(
            11.0,
            note(0, h.SUBMITTED, "", "e"),
            note(0.001, h.LOST, "worker-2", cause="closed"),
            note(0.001, h.REQUEUED, "worker-2", "b", 1, cause="lost"),
            note(0.002, h.JOINED, "worker-2"),
            note(0.003, h.DISPATCHED, "worker-2", "b", 2),
            note(0.036, h.DONE, "worker-2", "b", 2, compute_s=0.03),
            note(1.0, h.LOST, "worker-1", cause="rejoined"),
        )
    ).chain
    assert chain is not None and (chain.fault, chain.target, chain.woke) == ("pause", "broker", True)
    assert (chain.noticed_at, chain.held, chain.open) == (13.0, 4, {"a", "c", "d"})
    assert chain.requeued_at == pytest.approx(13.001)
    assert chain.recovery_s == pytest.approx(11.036)


def test_a_frozen_broker_that_goes_on_where_it_stood_needs_no_requeue() -> None:
    chain = followed(frozen_broker(5.0, note(0, h.DONE, "worker-1", "a", 1, compute_s=0.1))).chain
    assert chain is not None and (chain.target, chain.recovery_s) == ("broker", 5.0)
    assert (chain.requeued_at, chain.woke) == (None, True)


def test_a_silence_in_which_the_workers_computed_is_no_freeze() -> None:
    """The pause was short: the broker waited for the result, not the result for the broker."""
    assert followed(frozen_broker(5.0, note(0, h.DONE, "worker-1", "a", 1, compute_s=5.05))).chain is None
    busy = frozen_broker(0.2, note(0, h.DONE, "worker-1", "a", 1, compute_s=0.2))
    chain = followed(busy).chain
    assert chain is not None and chain.noticed_at is None


def test_a_killed_worker_after_an_unnoticed_freeze_of_the_broker_is_the_workers_fault() -> None:
    kill = note(0, h.FAULT, fault="kill", target="worker-2")
    lost = note(0.01, h.LOST, "worker-2", cause="closed")
    chain = followed(frozen_broker(30.0, kill, lost)).chain
    assert chain is not None and (chain.fault, chain.target) == ("kill", "worker-2")


def test_an_idle_broker_that_answers_after_a_freeze_had_no_fault() -> None:
    fault = followed([note(0, h.BROKER_STARTED), note(1, h.FAULT, fault="pause", target="broker")])
    fault.broker_answers(2.0)
    assert fault.chain is not None, "the answer may be older than the freeze"
    fault.broker_answers(5.0)
    assert fault.chain is None
