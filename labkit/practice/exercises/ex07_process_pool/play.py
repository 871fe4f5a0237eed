"""The learner's side: processes start as on Windows and macOS, and as everywhere from Python 3.14 on."""

from __future__ import annotations

import multiprocessing
import os
from types import ModuleType
from typing import Any


def run(module: ModuleType, seconds: list[float]) -> list[Any]:
    """Return this process's number and what the learner's function returns, under spawn."""
    multiprocessing.set_start_method("spawn", force=True)
    return [os.getpid(), module.in_processes(seconds)]
