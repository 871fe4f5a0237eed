"""The learner's side: workers and a reaper on one queue, as functions of one process, or as processes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from labkit.practice.redis_peer import Journal, Killed, connect, fresh, ready

__all__ = ["enqueue", "ready", "reap", "rehearse", "work"]

SOON_S, WAIT_S = 0.01, 0.5
"""How long get_task waits when the queue is empty, in the two stages."""


def result_of(task: str) -> str:
    """Return what computing a task gives."""
    return f"thumbnail of {task}"


# --- one process, in which one function interrupts another --------------------------------------------------


def rehearse(
    module: ModuleType, url: str, tasks: list[str], kill_at: int, reaper_kill_at: int
) -> list[list[str]]:
    """Return what happens when worker-1 and the reaper are killed, each before one of its Redis commands.

    worker-2 holds the first task all the while. At the end worker-3 looks whether a task is left over. Each
    actor has a module of its own, because each would be a process of its own.
    """
    happened: list[list[str]] = []

    def client(actor: str, kill_before: int | None = None) -> Any:
        def before(number: int) -> None:
            if number == kill_before:
                happened.append([actor, "killed", ""])
                raise Killed

        return connect(url, lambda line: happened.append([actor, "command", line]), before)

    def act(worker: str, kill_before: int | None = None, meanwhile: Callable[[], None] | None = None) -> None:
        todo = [meanwhile] if meanwhile else []

        def compute(task: str) -> str:
            happened.append([worker, "starts", task])
            if todo:
                todo.pop()()
            return result_of(task)

        try:
            fresh(module).work(client(worker, kill_before), worker, compute, SOON_S)
        except Killed:
            pass

    def put_back(dead: str, kill_before: int | None = None) -> None:
        try:
            fresh(module).reap(client("reaper", kill_before), dead)
        except Killed:
            pass

    def fault() -> None:
        act("worker-1", kill_at)
        put_back("worker-1", reaper_kill_at)
        put_back("worker-1")

    enqueue(module, url, tasks)
    act("worker-2", meanwhile=fault)
    put_back("worker-2")
    act("worker-3")
    return happened


# --- real processes -----------------------------------------------------------------------------------------


def enqueue(module: ModuleType, url: str, tasks: list[str]) -> None:
    """Put the tasks into the queue."""
    redis = connect(url)
    for task in tasks:
        module.enqueue_task(redis, task)


def work(module: ModuleType, url: str, worker: str) -> None:
    """Be a worker until the queue is empty; in each task it is held until the judge releases it."""
    journal = Journal(url)

    def compute(task: str) -> str:
        journal.note("starts", worker, task)
        journal.hold(worker)
        return result_of(task)

    module.work(connect(url), worker, compute, WAIT_S)


def reap(module: ModuleType, url: str, dead: str) -> None:
    """Put back what a dead worker held."""
    module.reap(connect(url), dead)
