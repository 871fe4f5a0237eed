"""The learner's side: processes start as on Windows and macOS, and as everywhere from Python 3.14 on."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any
from unittest.mock import patch


def run(module: ModuleType, seconds: list[float]) -> list[Any]:
    """Return this process's number, those that were started, and what the learner's function returns."""
    multiprocessing.set_start_method("spawn", force=True)
    started: list[int | None] = []
    start = BaseProcess.start

    def noted(process: BaseProcess) -> None:
        start(process)
        started.append(process.pid)

    with patch.object(BaseProcess, "start", noted):
        answer = module.in_processes(seconds)
    return [os.getpid(), started, answer]
