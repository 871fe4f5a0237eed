"""Kill storms: a task is to blame when workers die with it and not without it."""

from __future__ import annotations

from labkit.core.broker.blame import Verdict
from labkit.core.broker.weighing import EPIDEMIC
from labkit.core.protocol import messages as m
from tests.tools.scheduling import RULES, Lab, a_lab

RUN_S = 0.4


class Storm:
    """A cluster of workers that are killed and started again, each time as a new process."""

    def __init__(self, workers: int = 4) -> None:
        self.lab = a_lab(workers=0)
        self.places: list[str] = []
        self._born = 0
        for _ in range(workers):
            self.start()

    def start(self) -> str:
        self._born += 1
        route = self.lab.worker(f"w{self._born}")
        self.places.append(route)
        self.lab.tick()
        return route

    def kill(self, route: str) -> None:
        self.places.remove(route)
        self.lab.close(route)
        self.lab.tick()
        self.start()

    def wait(self, seconds: float) -> None:
        self.lab.pass_time(seconds, "c1", *self.places)

    def holder(self, task: bytes) -> str:
        """Return the worker that has the task now, started there."""
        open_task = self.lab.scheduler.tasks[task]
        worker = open_task.worker
        assert worker is not None
        route = str(worker.route)
        self.lab.start(task, route, open_task.attempt, confirm=1)
        return route

    def kill_with(self, task: bytes, ran_s: float = RUN_S) -> None:
        """Kill the worker that computes the task."""
        route = self.holder(task)
        self.wait(ran_s)
        self.kill(route)

    def kill_idle(self) -> None:
        """Kill a worker that has nothing to do."""
        workers = self.lab.scheduler.workers
        self.kill(next(r for r in self.places if (w := workers.at(r)) is not None and not w.tasks))


def test_innocent_task_in_a_storm_is_tried_again() -> None:
    storm = Storm()
    task = storm.lab.submit()
    for _ in range(2 * RULES.max_crashes):
        storm.kill_idle()
        storm.kill_with(task)
        storm.kill_idle()
        storm.wait(RULES.dead_s + 0.5)
    assert storm.lab.outcomes() == []
    route = storm.holder(task)
    storm.lab.done(task, route, storm.lab.scheduler.tasks[task].attempt)
    assert storm.lab.outcomes() == [(task, "RESULT")]


def test_a_storm_that_has_just_begun_shows_itself_before_the_verdict() -> None:
    storm = Storm()
    task = storm.lab.submit()
    for _ in range(RULES.max_crashes):
        storm.kill_with(task)
    assert storm.lab.outcomes() == [], "three workers died with it, and so far none without it"
    assert task in storm.lab.scheduler.queue.aside
    for _ in range(2):
        storm.wait(0.7)
        storm.kill_idle()
    storm.wait(0.3)
    assert storm.lab.outcomes() == []
    assert task not in storm.lab.scheduler.queue.aside


def test_slow_poison_is_found_after_the_same_number_of_crashes_without_a_storm() -> None:
    storm = Storm()
    task = storm.lab.submit()
    for _ in range(RULES.max_crashes):
        storm.kill_with(task, 1.0)
    assert storm.lab.outcomes() == []
    storm.wait(RULES.dead_s + 0.3)
    assert storm.lab.outcomes() == [(task, "POISONED")]
    assert storm.lab.happened("poisoned")[0].detail["crashes"] == RULES.max_crashes


def test_one_other_death_excuses_nothing() -> None:
    storm = Storm()
    task = storm.lab.submit()
    storm.kill_idle()
    for _ in range(RULES.max_crashes):
        storm.kill_with(task, 1.0)
    storm.wait(RULES.dead_s + 0.3)
    assert storm.lab.outcomes() == [(task, "POISONED")]


def test_poison_that_kills_at_once_is_found_in_the_middle_of_a_storm() -> None:
    storm = Storm()
    for _ in range(10):
        storm.kill_idle()
        storm.wait(0.7)
    task = storm.lab.submit()
    for _ in range(2 * RULES.max_crashes):
        storm.kill_with(task, 0.001)
        storm.kill_idle()
        storm.wait(0.1)
    storm.wait(3 * RULES.dead_s + 0.3)
    assert storm.lab.outcomes() == [(task, "POISONED")]


def test_a_broker_that_hears_of_start_and_death_at_once_takes_no_victim_for_a_quick_killer() -> None:
    storm = Storm()
    for _ in range(10):
        storm.kill_idle()
        storm.wait(0.7)
    task = storm.lab.submit()
    for _ in range(RULES.max_crashes):
        storm.kill_with(task, 0.0)
        storm.kill_idle()
    storm.wait(3 * RULES.dead_s + 0.3)
    assert storm.lab.outcomes() == []


def test_deaths_by_another_poison_excuse_nothing() -> None:
    storm = Storm()
    one, other = storm.lab.submit(1), storm.lab.submit(2)
    for _ in range(RULES.max_crashes):
        storm.kill_with(one, 1.0)
        storm.kill_with(other, 1.0)
    storm.wait(3 * RULES.dead_s + 0.3)
    assert sorted(storm.lab.outcomes()) == sorted([(one, "POISONED"), (other, "POISONED")])


def test_many_suspects_at_once_are_a_storm_and_not_so_many_poisons() -> None:
    many = EPIDEMIC + 2
    storm = Storm(workers=many)
    tasks = [storm.lab.submit(number) for number in range(1, many + 1)]
    for _ in range(RULES.max_crashes):
        for task in tasks:
            storm.kill_with(task, 0.05)
    storm.wait(3 * RULES.dead_s + 0.3)
    assert storm.lab.outcomes() == []


def test_a_cancelled_task_proves_nothing() -> None:
    storm = Storm()
    task = storm.lab.submit(1)
    for number in (2, 3):
        other = storm.lab.submit(number)
        storm.kill_with(other, 0.3)
        storm.lab.deliver("c1", m.Cancel(other))
    for _ in range(RULES.max_crashes):
        storm.kill_with(task, 1.0)
    storm.wait(3 * RULES.dead_s + 0.3)
    assert (task, "POISONED") in storm.lab.outcomes()


def test_a_victim_that_is_done_elsewhere_proves_that_workers_die_anyway() -> None:
    storm = Storm()
    task = storm.lab.submit(1)
    for number in (2, 3, 4):
        other = storm.lab.submit(number)
        storm.kill_with(other, 0.3)
        storm.lab.done(other, storm.holder(other), 2)
    for _ in range(RULES.max_crashes):
        storm.kill_with(task)
    assert [code for _, code in storm.lab.outcomes()] == ["RESULT"] * 3
    assert storm.lab.scheduler.tasks[task].crashes == 0, "forgiven"


def test_process_that_is_heard_again_ends_the_wait_for_the_verdict() -> None:
    storm = Storm()
    task = storm.lab.submit()
    last = ""
    for _ in range(RULES.max_crashes):
        last = str(storm.lab.scheduler.tasks[task].worker.id)  # type: ignore[union-attr]
        storm.kill_with(task, 1.0)
    assert task in storm.lab.scheduler.queue.aside
    storm.lab.worker("w back", name=last)
    storm.wait(0.3)
    assert task not in storm.lab.scheduler.queue.aside
    assert storm.lab.outcomes() == []


def test_the_story_says_why_a_suspect_waits() -> None:
    storm = Storm()
    task = storm.lab.submit()
    for _ in range(RULES.max_crashes):
        storm.kill_with(task, 1.0)
    event = storm.lab.happened("requeued")[-1]
    assert event.detail["crashes"] == RULES.max_crashes and event.detail["wait_s"] > 0


def test_a_verdict_is_one_of_three() -> None:
    lab: Lab = a_lab()
    task = lab.scheduler.tasks[lab.submit()]
    assert lab.scheduler.blame.judge(task, lab.scheduler.tasks, lab.now) is Verdict.TRY_AGAIN
