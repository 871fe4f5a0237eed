"""The learner's side: opens the executor that the function gets, and describes what the function returned."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import ModuleType
from typing import Any

import numpy as np

from labkit.client.client import Client
from labkit.executors import ClusterExecutor, SequentialExecutor
from labkit.security.credentials import Token


class Numbered(SequentialExecutor):
    """Runs each call at once, here, and gives its future a number, as a cluster does."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the call, and note its number."""
        future = super().submit(fn, *args, **kwargs)
        future.task_id = secrets.token_hex(16)  # type: ignore[attr-defined]
        self.tasks.append(future.task_id)  # type: ignore[attr-defined]
        return future


def run_here(module: ModuleType, image: np.ndarray, steps: list[Any]) -> dict[str, Any]:
    """Call the learner's function with an executor of this process; return its answer and the tasks' ids."""
    with Numbered() as executor:
        answer = _answer(module, executor, image, steps)
        return {**answer, "tasks": executor.tasks}


def run_on_cluster(
    module: ModuleType, address: str, secret: str, image: np.ndarray, steps: list[Any]
) -> dict[str, Any]:
    """Call the learner's function with an executor of the cluster at ``address``; return its answer."""
    with ClusterExecutor(Client(address, Token(secret), name="learner")) as executor:
        return _answer(module, executor, image, steps)


def _answer(module: ModuleType, executor: Executor, image: np.ndarray, steps: list[Any]) -> dict[str, Any]:
    """Return what the answer is: whether it is a pair, its two halves, and the types of all that."""
    answer = module.first_task(executor, image, steps)
    is_pair = isinstance(answer, tuple | list) and len(answer) == 2
    task, result = answer if is_pair else (None, None)
    return {
        "is_pair": is_pair,
        "kind": type(answer).__name__,
        "task": task if isinstance(task, str) else repr(task)[:80],
        "image": result if isinstance(result, np.ndarray) else None,
        "image_kind": type(result).__name__,
    }
