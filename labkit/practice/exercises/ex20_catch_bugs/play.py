"""The learner's side: right and wrong implementations to be tested."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

Requeue = Callable[[list[str], list[str]], list[str]]


def _plain(held: list[str], waiting: list[str]) -> list[str]:
    return [*held, *waiting]


def _loop(held: list[str], waiting: list[str]) -> list[str]:
    queue = list(waiting)
    for task in reversed(held):
        queue.insert(0, task)
    return queue


def _behind(held: list[str], waiting: list[str]) -> list[str]:
    return [*waiting, *held]


def _reversed(held: list[str], waiting: list[str]) -> list[str]:
    return [*held[::-1], *waiting]


def _loses_one(held: list[str], waiting: list[str]) -> list[str]:
    return [*held[:-1], *waiting] if len(held) > 1 else [*held, *waiting]


def _sorts(held: list[str], waiting: list[str]) -> list[str]:
    return [*held, *sorted(waiting)]


def _changes_its_input(held: list[str], waiting: list[str]) -> list[str]:
    held.extend(waiting)
    return held


RIGHT: dict[str, Requeue] = {"plain": _plain, "loop": _loop}
WRONG: dict[str, Requeue] = {
    "behind": _behind, "reversed": _reversed, "loses-one": _loses_one, "sorts": _sorts,
    "changes-its-input": _changes_its_input,
}  # fmt: skip


def judge(module: ModuleType, name: str) -> Any:
    """Return what the learner's test says about an implementation; an exception counts as a failed test."""
    implementation = (RIGHT | WRONG)[name]

    def requeue(held: list[str], waiting: list[str]) -> list[str]:  # a name that says nothing
        return implementation(held, waiting)

    try:
        return module.is_right(requeue)
    except AssertionError:
        return False


def ci_job(module: ModuleType) -> Any:
    """Return the learner's CI job."""
    return module.CI_JOB
