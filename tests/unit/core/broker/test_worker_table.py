"""The worker table: its index agrees with least_busy, and credit is time, not count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.core.broker.policies import least_busy
from labkit.core.broker.records import ClientRecord, OpenTask, Worker
from labkit.core.broker.worker_table import MAX_DEPARTED_REMEMBERED, WorkerTable
from labkit.core.protocol.messages import EMPTY
from labkit.core.protocol.rules import Rules

ANY: frozenset[str] = frozenset()
BLUR, EDGES = frozenset({"blur"}), frozenset({"edges"})
RULES = Rules()
ANN = ClientRecord(b"ann", "ann", "ann", 0.0)


def a_worker(name: str = "w", slots: int = 1, capabilities: frozenset[str] = ANY) -> Worker:
    return Worker(name, f"route of {name}", b"instance", b"epoch-88", slots, capabilities, 1, 0.0)


def a_table(*workers: Worker, rules: Rules = RULES) -> WorkerTable:
    table = WorkerTable(rules)
    for worker in workers:
        table.join(worker)
    return table


def a_task(number: int = 0, job: str = "work", needs: frozenset[str] = ANY) -> OpenTask:
    return OpenTask(number.to_bytes(16), ANN, job, needs, 30.0, 60.0, EMPTY)


def fill(table: WorkerTable, worker: Worker, job: str = "work", most: int = 1000) -> int:
    """Give a worker tasks while it has credit; return how many it took."""
    taken = 0
    while table.has_credit(worker) and taken < most:
        table.dispatched(worker, a_task(taken, job))
        taken += 1
    return taken


# --- credit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 4])
def test_worker_gets_slots_plus_one_unknown_or_long_tasks(slots: int) -> None:
    worker = a_worker(slots=slots)
    table = a_table(worker)
    table.learn("long", 3.0)
    assert fill(table, worker, "long") == slots + 1


def test_tiny_tasks_are_sent_ahead_while_they_take_less_than_work_ahead() -> None:
    worker = a_worker()
    table = a_table(worker)
    table.learn("tiny", RULES.work_ahead_s / 10)
    assert fill(table, worker, "tiny") in (10, 11)  # the sum of ten floats may fall short of it


def test_number_of_tiny_tasks_per_worker_is_bounded() -> None:
    worker = a_worker()
    table = a_table(worker)
    table.learn("nothing", 0.0)
    assert fill(table, worker, "nothing") == RULES.max_ahead


@pytest.mark.parametrize("state", ["suspect", "draining"])
def test_suspect_or_draining_worker_has_no_credit(state: str) -> None:
    worker = a_worker()
    table = a_table(worker)
    setattr(worker, state, True)
    table.touch(worker)
    assert not table.has_credit(worker)
    assert table.least_busy(ANY) is None
    assert table.eligible(ANY) == []
    assert table.any_can(ANY)
    assert worker.status == state


def test_ended_task_gives_its_credit_back() -> None:
    worker, task = a_worker(), a_task()
    table = a_table(worker)
    table.dispatched(worker, task)
    assert worker.status == "busy"
    table.released(worker, task)
    assert worker.status == "ready"
    assert (worker.in_flight, worker.ahead_s) == (0, 0.0)


def test_revoked_attempt_is_charged_until_the_worker_answers_once() -> None:
    worker, task = a_worker(), a_task()
    table = a_table(worker)
    table.dispatched(worker, task)
    table.revoked(worker, task)
    assert worker.in_flight == 1
    table.answered(worker, task.id, task.attempt + 1)
    assert worker.in_flight == 1
    for _ in range(2):
        table.answered(worker, task.id, task.attempt)
        assert worker.in_flight == 0


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1.0, 1e9])
def test_impossible_compute_times_are_ignored(nonsense: float) -> None:
    worker = a_worker()
    table = a_table(worker)
    table.learn("work", nonsense)
    table.dispatched(worker, a_task())
    assert worker.ahead_s == RULES.work_ahead_s


def test_expected_time_of_a_job_follows_its_recent_runs() -> None:
    worker, task = a_worker(), a_task()
    table = a_table(worker)
    table.learn("work", 1.0)
    for _ in range(50):
        table.learn("work", 3.0)
    table.dispatched(worker, task)
    assert 2.9 < task.expected_s <= 3.0


# --- who is in it -------------------------------------------------------------------------------------------


def test_worker_is_found_by_id_and_by_route_until_it_goes() -> None:
    worker = a_worker()
    table = a_table(worker)
    assert table.get("w") is table.at("route of w") is worker
    table.remove(worker, "lost")
    assert table.get("w") is None
    assert table.at("route of w") is None
    assert table.departed["w"] == (worker, "lost")
    assert not table.any_can(ANY)


def test_worker_that_comes_back_is_no_longer_among_the_departed() -> None:
    table = a_table(a_worker())
    table.remove(next(iter(table)), "left")
    table.join(a_worker())
    assert not table.departed


def test_number_of_departed_workers_is_bounded() -> None:
    table = a_table()
    for number in range(MAX_DEPARTED_REMEMBERED + 5):
        worker = a_worker(str(number))
        table.join(worker)
        table.remove(worker, "lost")
    assert len(table.departed) == MAX_DEPARTED_REMEMBERED
    assert "0" not in table.departed


def test_only_workers_that_state_all_that_a_task_needs_are_eligible() -> None:
    both = a_worker("both", capabilities=BLUR | EDGES)
    table = a_table(a_worker("blur", capabilities=BLUR), both)
    assert table.eligible(BLUR | EDGES) == [both]
    assert table.least_busy(BLUR | EDGES) is both
    assert not table.any_can(frozenset({"resize"}))


def test_worker_without_capabilities_can_do_everything() -> None:
    worker = a_worker()
    assert a_table(worker).least_busy(frozenset({"whatever"})) is worker


def test_capabilities_that_arrive_later_are_seen() -> None:
    table = a_table(a_worker("blur", capabilities=BLUR))
    assert table.least_busy(EDGES) is None
    newcomer = a_worker("edges", capabilities=EDGES)
    table.join(newcomer)
    assert table.least_busy(EDGES) is newcomer


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
def test_index_gives_exactly_what_the_policy_gives(steps: list[tuple[str, int, int]]) -> None:
    table = a_table(rules=SMALL)
    table.learn("tiny", 0.0001)
    table.learn("long", 2.0)
    for number, (what, who, pick) in enumerate(steps):
        name = f"w{who}"
        worker = table.get(name)
        if worker is None:
            table.join(a_worker(name, slots=1 + who % 3, capabilities=NEEDS[pick]))
        elif what == "dispatch":
            best = table.least_busy(NEEDS[pick])
            if best is not None:
                table.dispatched(best, a_task(number, JOBS[pick % len(JOBS)]))
        elif what == "release" and worker.tasks:
            table.released(worker, next(iter(worker.tasks.values())))
        elif what == "revoke" and worker.tasks:
            table.revoked(worker, next(iter(worker.tasks.values())))
        elif what == "answer" and worker.revoked:
            table.answered(worker, *next(iter(worker.revoked)))
        elif what == "suspect":
            worker.suspect = not worker.suspect
            table.touch(worker)
        elif what == "drain":
            worker.draining = True
            table.touch(worker)
        elif what == "leave":
            table.remove(worker, "left")
        _check_index(table)


def _check_index(table: WorkerTable) -> None:
    for needs in NEEDS:
        eligible = [worker for worker in table if table.has_credit(worker) and worker.can(needs)]
        assert table.eligible(needs) == eligible
        wanted = least_busy(a_task(), eligible, 0.0) if eligible else None
        assert table.least_busy(needs) is wanted
    for worker in table:
        assert worker.in_flight == len(worker.tasks) + len(worker.revoked)
        assert worker.in_flight <= max(worker.slots + 1, SMALL.max_ahead)
    assert set(table.all_tasks()) == {task for worker in table for task in worker.tasks.values()}
