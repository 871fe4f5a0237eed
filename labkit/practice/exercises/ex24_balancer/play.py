"""The learner's side: a balancer and its workers, as functions that interrupt each other, or as processes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any

from labkit.practice.redis_peer import Journal, Killed, connect, fresh, plain, ready

__all__ = ["assign", "ready", "rehearse", "take_over", "work"]

SOON_S, WAIT_S = 0.01, 0.1
"""How long get_task waits when the queue is empty, in the two stages."""
MOST_COMMANDS = 7
"""One of the first of so many commands is interrupted, or not sent because its process is killed."""


def result_of(task: str) -> str:
    """Return what computing a task gives."""
    return f"thumbnail of {task}"


class Rehearsal:
    """One run in one process; each actor has a module and a client of its own, as processes have."""

    def __init__(self, module: ModuleType, url: str, seed: int, workers: list[str]) -> None:
        self.random = Random(f"{seed} balancer")
        self.workers = workers
        self.happened: list[list[Any]] = []
        """[what, about, answer, ...]; see ``rehearse``."""
        self._module, self._url = module, url
        self._modules = {worker: fresh(module) for worker in workers}
        self._clients = {worker: connect(url) for worker in workers}
        self._balancer = fresh(module)
        self._look = connect(url)
        self._all = list(workers)

    def lists(self) -> dict[str, list[list[str]]]:
        """Return each worker's queue and what is in its hands, the oldest first."""
        names = [f"{kind}:{worker}" for worker in self._all for kind in ("queue", "hand")]
        with self._look.pipeline() as together:
            for name in names:
                together.lrange(name, 0, -1)
            found = [part[::-1] for part in together.execute()]
        return {worker: found[2 * n : 2 * n + 2] for n, worker in enumerate(self._all)}

    def held(self) -> dict[str, int]:
        """Return how many tasks each living worker holds."""
        lists = self.lists()
        return {worker: sum(map(len, lists[worker])) for worker in self.workers}

    def worker_acts(self, prefer_get: bool = False) -> None:
        """Let a worker that can get or complete a task do so."""
        lists = self.lists()
        able = [worker for worker in self.workers if any(lists[worker])]
        getting = [worker for worker in able if not lists[worker][1]]
        if not able:
            return
        worker = self.random.choice(getting if getting and prefer_get else able)
        hand = lists[worker][1]
        if hand:
            self._modules[worker].complete_task(self._clients[worker], worker, hand[0], result_of(hand[0]))
            self.happened.append(["completes", worker, hand[0]])
        else:
            task = self._modules[worker].get_task(self._clients[worker], worker, SOON_S)
            self.happened.append(["gets", worker, task])

    def assign(self, task: str) -> None:
        """Assign a task; a worker may act meanwhile."""
        moments = [self.held()]

        def meanwhile() -> None:
            self.worker_acts(prefer_get=True)
            moments.append(self.held())

        redis = connect(self._url, before=_at(self.random.randint(1, MOST_COMMANDS), meanwhile))
        answer = self._balancer.assign(redis, task, list(self.workers))
        self.happened.append(["assign", task, plain(answer), moments, self.lists()])

    def take_over(self, dead: str) -> None:
        """Let a worker die and its tasks be taken over; the first try may be killed in the middle."""
        self.workers = [worker for worker in self.workers if worker != dead]
        before, number = self.lists(), self.random.randint(1, MOST_COMMANDS)

        def kill() -> None:
            raise Killed

        killed = False
        try:
            self._balancer.take_over(connect(self._url, before=_at(number, kill)), dead, list(self.workers))
        except Killed:
            killed = True
            fresh(self._module).take_over(connect(self._url), dead, list(self.workers))
        self.happened.append(["take_over", dead, killed, before, self.lists()])


def _at(number: int, act: Callable[[], None]) -> Callable[[int], None]:
    def before(sent: int) -> None:
        if sent == number:
            act()

    return before


def rehearse(module: ModuleType, url: str, seed: int, workers: list[str], tasks: list[str]) -> list[Any]:
    """Return what happened, each act with what is needed to judge it.

    ["assign", task, answer, what each worker held before and in the middle of it, all lists after it],
    ["take_over", worker, whether the first try was killed, all lists before, all lists after],
    ["gets", worker, task], ["completes", worker, task], and ["end", "", "", all lists].
    """
    run = Rehearsal(module, url, seed, workers)
    dies_at = run.random.randint(len(tasks) // 2, len(tasks) - 2)
    for number, task in enumerate(tasks):
        for _ in range(run.random.randrange(3)):
            run.worker_acts()
        if number == dies_at:
            run.take_over(run.random.choice(run.workers))
        run.assign(task)
    for _ in range(2 * len(tasks)):  # enough: each is got once and completed once
        run.worker_acts()
    return [*run.happened, ["end", "", "", run.lists()]]


# --- real processes -----------------------------------------------------------------------------------------


def assign(module: ModuleType, url: str, task: str, workers: list[str]) -> Any:
    """Assign a task and return to whom."""
    return plain(module.assign(connect(url), task, workers))


def take_over(module: ModuleType, url: str, dead: str, workers: list[str]) -> None:
    """Give what a dead worker held to others."""
    module.take_over(connect(url), dead, workers)


def work(module: ModuleType, url: str, worker: str) -> None:
    """Be a worker until the judge ends it; in each task it is held until the judge releases it."""
    journal, redis = Journal(url), connect(url)
    while True:
        ending = journal.has("end")  # before the queue is looked at, so that nothing in it is left
        task = module.get_task(redis, worker, WAIT_S)
        if task is None and ending:
            return
        if task is not None:
            journal.note("begins", worker, task)
            journal.hold(worker)
            module.complete_task(redis, worker, task, result_of(task))
            journal.note("ends", worker, task)
