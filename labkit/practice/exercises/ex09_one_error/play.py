"""The learner's side: an executor, a function that fails for some inputs, and a record of its calls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from labkit.executors import open_executor


def run(module: ModuleType, engine: str, inputs: list[int], bad: list[int]) -> list[Any]:
    """Return what the learner's function returns, and the inputs for which ours was called."""
    called: list[int] = []
    lock = threading.Lock()

    def triple(value: int) -> int:
        with lock:
            called.append(value)
        if value in bad:
            raise ValueError(f"{value} cannot be tripled")
        return 3 * value

    with open_executor("sequential") if engine == "sequential" else ThreadPoolExecutor(3) as executor:
        return [module.run_all(executor, triple, inputs), called]
