"""A worker's threads: one leads, the leader computes short tasks, and no task stops heartbeats."""

from __future__ import annotations

import importlib
import os
import threading
import types
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from labkit.calls import serialization
from labkit.core.peers.worker_events import Finished, Raised
from labkit.core.protocol import messages as m
from tests.tools.waiting import wait_until
from workers.compute import Compute
from workers.leader_followers import LeaderFollowers

JOBS = """
import threading

gates = [threading.Event(), threading.Event()]
ran = []

def where():
    ran.append(threading.get_ident())

def wait(number):
    ran.append(threading.get_ident())
    return gates[number].wait(20)
"""


@pytest.fixture(scope="module")
def jobs_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """Yield a module with the jobs above."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "gated_jobs.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("gated_jobs")


@pytest.fixture
def gated_jobs(jobs_module: types.ModuleType) -> types.ModuleType:
    """Return that module with its gates closed."""
    jobs_module.ran.clear()
    for gate in jobs_module.gates:
        gate.clear()
    return jobs_module


def task_of(job: str, *args: object) -> m.Task:
    return m.Task(os.urandom(16), 1, 30.0, 0, serialization.encode_call(f"gated_jobs:{job}", args, {}))


class Talker:
    """A leader without a socket, which reads the tasks that the test leaves in ``inbox``."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.inbox: deque[m.Task] = deque()
        self.news = threading.Event()
        self.reports: list[Finished | Raised] = []
        self.leading: list[int] = []  # threads in ``turn``: never two
        self.leaders: set[int] = set()
        self.turns = 0
        self.collisions = 0
        self.is_over = False
        self.breaks = False

    def turn(self) -> None:
        self.leading.append(threading.get_ident())
        self.collisions += len(self.leading) > 1
        if self.breaks:
            raise RuntimeError("a bug")
        if not self.compute.has_work and not self.compute.has_news:
            self.news.wait(0.05)
        self.news.clear()
        self.leaders.add(threading.get_ident())
        while self.inbox:
            self.compute.add(self.inbox.popleft())
        self.reports += self.compute.collect()
        self.turns += 1
        self.leading.pop()

    def report(self, report: Finished | Raised) -> None:
        self.reports.append(report)

    def wake(self) -> None:
        self.news.set()

    def give(self, job: str, *args: object) -> bytes:
        task = task_of(job, *args)
        self.inbox.append(task)
        self.news.set()
        return task.task


@pytest.fixture
def start(gated_jobs: types.ModuleType) -> Iterator[Callable[[int], Talker]]:
    """Return a function that starts the threads for some slots; they end with the test."""
    running: list[tuple[Talker, threading.Thread]] = []

    def start(slots: int) -> Talker:
        compute = Compute(slots, ("gated_jobs",), 1_000_000)
        talker = Talker(compute)
        thread = threading.Thread(target=LeaderFollowers(slots + 1, talker, compute).serve)
        thread.start()
        running.append((talker, thread))
        return talker

    yield start
    for gate in gated_jobs.gates:
        gate.set()
    for talker, thread in running:
        talker.is_over = True
        talker.wake()
        thread.join(10)
        assert not thread.is_alive() and not talker.collisions


def test_a_short_task_is_computed_by_the_thread_that_reads_it(
    start: Callable[[int], Talker], gated_jobs: types.ModuleType
) -> None:
    talker = start(1)
    for number in range(1, 21):
        talker.give("where")
        wait_until(lambda: len(talker.reports) == number, what="its report")  # noqa: B023
    assert set(gated_jobs.ran) <= talker.leaders


def test_another_thread_leads_while_the_leader_computes_for_long(
    start: Callable[[int], Talker], gated_jobs: types.ModuleType
) -> None:
    talker = start(1)
    task = talker.give("wait", 0)
    wait_until(lambda: gated_jobs.ran, what="the task to run")
    before = talker.turns
    wait_until(lambda: talker.turns > before + 3, what="turns beside the task")
    assert not talker.reports
    gated_jobs.gates[0].set()
    wait_until(lambda: talker.reports, what="the report")
    assert [report.task for report in talker.reports] == [task]


def test_a_result_does_not_wait_for_the_long_task_behind_it(
    start: Callable[[int], Talker], gated_jobs: types.ModuleType
) -> None:
    talker = start(1)
    for _ in range(20):  # they are read together, and so is the one that takes long
        talker.inbox.append(task_of("where"))
    talker.inbox.append(task_of("wait", 0))
    talker.news.set()
    wait_until(lambda: len(gated_jobs.ran) == 21, what="the long one to run")
    wait_until(lambda: len(talker.reports) == 20, what="the others' reports")
    gated_jobs.gates[0].set()
    wait_until(lambda: len(talker.reports) == 21, what="its report")


def test_all_slots_compute_while_one_thread_leads(
    start: Callable[[int], Talker], gated_jobs: types.ModuleType
) -> None:
    talker = start(2)
    tasks = {talker.give("wait", 0), talker.give("wait", 1)}
    third = talker.give("where")
    wait_until(lambda: len(gated_jobs.ran) == 2, what="both to run")
    before = talker.turns
    wait_until(lambda: talker.turns > before + 3, what="turns beside them")
    assert len(set(gated_jobs.ran)) == 2 and not talker.reports
    gated_jobs.gates[1].set()  # the free thread computes the waiting task
    wait_until(lambda: third in {report.task for report in talker.reports}, what="the third")
    gated_jobs.gates[0].set()
    wait_until(lambda: len(talker.reports) == 3, what="all reports")
    assert {report.task for report in talker.reports} == tasks | {third}


def test_constant_lead_changes_lose_and_repeat_no_report(
    start: Callable[[int], Talker], gated_jobs: types.ModuleType
) -> None:
    talker = start(2)
    gated_jobs.gates[0].set()
    given = [talker.give("wait", 0) if number % 3 else talker.give("where") for number in range(600)]
    wait_until(lambda: len(talker.reports) >= 600, 30, "600 reports")
    assert sorted(report.task for report in talker.reports) == sorted(given)


def test_no_task_starts_after_the_leader_is_over(gated_jobs: types.ModuleType) -> None:
    compute = Compute(1, ("gated_jobs",), 1_000_000)
    talker = Talker(compute)
    threads = LeaderFollowers(2, talker, compute)
    serving = threading.Thread(target=threads.serve)
    serving.start()
    talker.give("wait", 0)
    wait_until(lambda: gated_jobs.ran, what="the task to run")
    talker.give("where")  # it waits for the slot
    wait_until(lambda: compute._waiting, what="the other to be read")
    talker.is_over = True
    talker.wake()
    serving.join(10)
    gated_jobs.gates[0].set()
    for thread in threads._threads:
        thread.join(10)
    assert len(gated_jobs.ran) == 1, "the broker gives it to another worker"


def test_an_exception_in_the_leader_ends_the_worker() -> None:
    compute = Compute(1, (), 1_000_000)
    talker = Talker(compute)
    talker.breaks = True
    with pytest.raises(RuntimeError, match="a bug"):
        LeaderFollowers(2, talker, compute).serve()
