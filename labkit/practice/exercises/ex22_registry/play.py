"""The learner's side: workers and a monitor on one registry, by a script, or as processes with a rhythm."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from labkit.practice.redis_peer import Journal, connect, fresh, plain, ready

__all__ = ["live", "look", "ready", "rehearse"]

MONITOR = "monitor"


def rehearse(module: ModuleType, url: str, beat_s: float, script: list[list[Any]]) -> list[list[Any]]:
    """Do what the script says; return each act with what its function returned, in the order of their ends.

    An act is [what, worker, time, interruption]; the interruption is None or [n, act]: that act of another
    process happens before the n-th Redis command of this one, or right after it if it has no n commands.
    Each worker and the monitor have a module of their own, as processes have.
    """
    done: list[list[Any]] = []
    modules: dict[str, ModuleType] = {}
    clients: dict[str, Any] = {}
    todo: list[list[Any]] = []  # the interruption that is to come
    sent = 0

    def before(_number: int) -> None:
        nonlocal sent
        if todo and sent == todo[0][0]:
            act(*todo.pop()[1])
        sent += 1

    def act(what: str, worker: str, now: float, interruption: list[Any] | None) -> None:
        nonlocal sent
        actor = worker or MONITOR
        if actor not in modules:
            modules[actor], clients[actor] = fresh(module), connect(url, before=before)
        if interruption is not None:
            todo[:], sent = [interruption], 0
        mine, redis = modules[actor], clients[actor]
        if what == "check":
            answer = mine.health_check(redis, now, beat_s)
        elif what == "active":
            answer = mine.active(redis)
        elif what == "leave":
            answer = mine.leave(redis, worker)
        elif what == "beat":
            answer = mine.heartbeat(redis, worker, now)
        else:
            answer = mine.register(redis, worker, now)
        done.append([what, worker, now, plain(answer)])
        if interruption is not None and todo:
            act(*todo.pop()[1])

    for one in script:
        act(*one)
    return done


def live(module: ModuleType, url: str, worker: str, every_s: float) -> None:
    """Be a worker that registers and sends a heartbeat every ``every_s``, until the judge ends it."""
    journal, redis = Journal(url), connect(url)

    def note(what: str, call: Callable[..., Any]) -> Any:
        now = time.monotonic()
        journal.note("begins", what, worker, repr(now))
        answer = call(redis, worker, now)
        journal.note("ends", what, worker, repr(now))
        return answer

    note("register", module.register)
    while not journal.released(worker, every_s):
        if not note("beat", module.heartbeat):
            note("register", module.register)


def look(module: ModuleType, url: str, beat_s: float) -> list[Any]:
    """Return the time, what a health check at that time returned, and who is active after it."""
    redis, now = connect(url), time.monotonic()
    return [now, plain(module.health_check(redis, now, beat_s)), plain(module.active(redis))]
