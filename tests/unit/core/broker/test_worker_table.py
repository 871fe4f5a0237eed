"""The table of workers: its index is least_busy and nothing else, and credit is time, not count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.core.broker.client_table import ClientRecord
from labkit.core.broker.policies import least_busy
from labkit.core.broker.task_queue import OpenTask
from labkit.core.broker.worker_table import MAX_DEPARTED_REMEMBERED, Fleet, Worker
from labkit.core.protocol.messages import EMPTY
from labkit.core.protocol.rules import Rules

ANY: frozenset[str] = frozenset()
BLUR, EDGES = frozenset({"blur"}), frozenset({"edges"})
RULES = Rules()
ANN = ClientRecord(b"ann", "ann", "ann", 0.0)


def a_worker(name: str = "w", slots: int = 1, capabilities: frozenset[str] = ANY) -> Worker:
    return Worker(name, f"route of {name}", b"instance", b"epoch-88", slots, capabilities, 1, 0.0)


def a_fleet(*workers: Worker, rules: Rules = RULES) -> Fleet:
    fleet = Fleet(rules)
    for worker in workers:
        fleet.join(worker)
    return fleet


def a_task(number: int = 0, job: str = "work", needs: frozenset[str] = ANY) -> OpenTask:
    return OpenTask(number.to_bytes(16), ANN, job, needs, 30.0, 60.0, EMPTY)


def fill(fleet: Fleet, worker: Worker, job: str = "work", most: int = 1000) -> int:
    """Give a worker tasks as long as it has credit; return how many it took."""
    taken = 0
    while fleet.has_credit(worker) and taken < most:
        fleet.dispatched(worker, a_task(taken, job))
        taken += 1
    return taken


# --- credit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 4])
def test_of_unknown_or_long_tasks_a_worker_gets_one_more_than_it_has_slots(slots: int) -> None:
    worker = a_worker(slots=slots)
    fleet = a_fleet(worker)
    fleet.learn("long", 3.0)
    assert fill(fleet, worker, "long") == slots + 1


def test_tiny_tasks_are_sent_ahead_as_long_as_they_take_less_than_work_ahead() -> None:
    worker = a_worker()
    fleet = a_fleet(worker)
    fleet.learn("tiny", RULES.work_ahead_s / 10)
    assert fill(fleet, worker, "tiny") in (10, 11)  # the sum of ten floats may fall short of it


def test_however_tiny_the_tasks_there_is_a_most() -> None:
    worker = a_worker()
    fleet = a_fleet(worker)
    fleet.learn("nothing", 0.0)
    assert fill(fleet, worker, "nothing") == RULES.max_ahead


@pytest.mark.parametrize("state", ["suspect", "draining"])
def test_a_suspect_or_draining_worker_has_no_credit(state: str) -> None:
    worker = a_worker()
    fleet = a_fleet(worker)
    setattr(worker, state, True)
    fleet.touch(worker)
    assert not fleet.has_credit(worker)
    assert fleet.least_busy(ANY) is None
    assert fleet.eligible(ANY) == []
    assert fleet.any_can(ANY)
    assert worker.status == state


def test_an_ended_task_gives_its_credit_back() -> None:
    worker, task = a_worker(), a_task()
    fleet = a_fleet(worker)
    fleet.dispatched(worker, task)
    assert worker.status == "busy"
    fleet.released(worker, task)
    assert worker.status == "ready"
    assert (worker.in_flight, worker.ahead_s) == (0, 0.0)


def test_a_revoked_attempt_is_charged_until_the_worker_answers_for_it_once() -> None:
    worker, task = a_worker(), a_task()
    fleet = a_fleet(worker)
    fleet.dispatched(worker, task)
    fleet.revoked(worker, task)
    assert worker.in_flight == 1
    fleet.answered(worker, task.id, task.attempt + 1)
    assert worker.in_flight == 1
    for _ in range(2):
        fleet.answered(worker, task.id, task.attempt)
        assert worker.in_flight == 0


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, 1e9])
def test_times_that_no_clock_measured_teach_nothing(nonsense: float) -> None:
    worker = a_worker()
    fleet = a_fleet(worker)
    fleet.learn("work", nonsense)
    fleet.dispatched(worker, a_task())
    assert worker.ahead_s == RULES.work_ahead_s


def test_a_job_is_expected_to_take_what_it_lately_took() -> None:
    worker, task = a_worker(), a_task()
    fleet = a_fleet(worker)
    fleet.learn("work", 1.0)
    for _ in range(50):
        fleet.learn("work", 3.0)
    fleet.dispatched(worker, task)
    assert 2.9 < task.expected_s <= 3.0


# --- who is in it -------------------------------------------------------------------------------------------


def test_a_worker_is_found_by_id_and_by_route_until_it_goes() -> None:
    worker = a_worker()
    fleet = a_fleet(worker)
    assert fleet.get("w") is fleet.at("route of w") is worker
    fleet.remove(worker, "lost")
    assert fleet.get("w") is None
    assert fleet.at("route of w") is None
    assert fleet.departed["w"] == (worker, "lost")
    assert not fleet.any_can(ANY)


def test_a_worker_that_comes_back_is_no_longer_among_the_departed() -> None:
    fleet = a_fleet(a_worker())
    fleet.remove(next(iter(fleet)), "left")
    fleet.join(a_worker())
    assert not fleet.departed


def test_only_so_many_departed_workers_are_remembered() -> None:
    fleet = a_fleet()
    for number in range(MAX_DEPARTED_REMEMBERED + 5):
        worker = a_worker(str(number))
        fleet.join(worker)
        fleet.remove(worker, "lost")
    assert len(fleet.departed) == MAX_DEPARTED_REMEMBERED
    assert "0" not in fleet.departed


def test_only_workers_that_state_all_that_a_task_needs_are_eligible() -> None:
    both = a_worker("both", capabilities=BLUR | EDGES)
    fleet = a_fleet(a_worker("blur", capabilities=BLUR), both)
    assert fleet.eligible(BLUR | EDGES) == [both]
    assert fleet.least_busy(BLUR | EDGES) is both
    assert not fleet.any_can(frozenset({"resize"}))


def test_a_worker_that_states_nothing_can_everything() -> None:
    worker = a_worker()
    assert a_fleet(worker).least_busy(frozenset({"whatever"})) is worker


def test_capabilities_that_arrive_later_are_seen() -> None:
    fleet = a_fleet(a_worker("blur", capabilities=BLUR))
    assert fleet.least_busy(EDGES) is None
    newcomer = a_worker("edges", capabilities=EDGES)
    fleet.join(newcomer)
    assert fleet.least_busy(EDGES) is newcomer


# --- the index ----------------------------------------------------------------------------------------------

SMALL = replace(RULES, max_ahead=6)
NEEDS = (ANY, BLUR, EDGES, BLUR | EDGES)
JOBS = ("tiny", "long", "new")
operations = st.lists(
    st.tuples(
        st.sampled_from(
            ["dispatch", "dispatch", "dispatch", "release", "revoke", "answer", "suspect", "drain", "leave"]
        ),
        st.integers(0, 5),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(operations)
def test_the_index_gives_exactly_what_the_policy_gives(steps: list[tuple[str, int, int]]) -> None:
    fleet = a_fleet(rules=SMALL)
    fleet.learn("tiny", 0.0001)
    fleet.learn("long", 2.0)
    for number, (what, who, pick) in enumerate(steps):
        name = f"w{who}"
        worker = fleet.get(name)
        if worker is None:
            fleet.join(a_worker(name, slots=1 + who % 3, capabilities=NEEDS[pick]))
        elif what == "dispatch":
            best = fleet.least_busy(NEEDS[pick])
            if best is not None:
                fleet.dispatched(best, a_task(number, JOBS[pick % len(JOBS)]))
        elif what == "release" and worker.tasks:
            fleet.released(worker, next(iter(worker.tasks.values())))
        elif what == "revoke" and worker.tasks:
            fleet.revoked(worker, next(iter(worker.tasks.values())))
        elif what == "answer" and worker.revoked:
            fleet.answered(worker, *next(iter(worker.revoked)))
        elif what == "suspect":
            worker.suspect = not worker.suspect
            fleet.touch(worker)
        elif what == "drain":
            worker.draining = True
            fleet.touch(worker)
        elif what == "leave":
            fleet.remove(worker, "left")
        _check_index(fleet)


def _check_index(fleet: Fleet) -> None:
    for needs in NEEDS:
        eligible = [worker for worker in fleet if fleet.has_credit(worker) and worker.can(needs)]
        assert fleet.eligible(needs) == eligible
        wanted = least_busy(a_task(), eligible, 0.0) if eligible else None
        assert fleet.least_busy(needs) is wanted
    for worker in fleet:
        assert worker.in_flight == len(worker.tasks) + len(worker.revoked)
        assert worker.in_flight <= max(worker.slots + 1, SMALL.max_ahead)
    assert set(fleet.all_tasks()) == {task for worker in fleet for task in worker.tasks.values()}
