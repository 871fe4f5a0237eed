"""The same code gets the same verdict on a machine at load 8, or an inconclusive one, never another.

Here a small sample, one check after the other. All exercises, each solution and each wrong one a hundred
times, with six checks side by side above the same load::

    PRACTICE_REPEATS=100 python -m pytest -s tests/processes/practice/test_same_verdict.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from labkit.practice.check import SIMULATED, STAGES
from labkit.practice.exercise import Exercise, catalogue
from labkit.practice.verdict import Kind
from labkit.practice.verify import REJECTED_BY, run
from labkit.practice.workspace import solution_of

LOAD = 8
REPEATS = int(os.environ.get("PRACTICE_REPEATS", "0"))
AT_ONCE = 6 if REPEATS else 1
SAMPLE = ("racy-counter", "chunks", "heartbeats", "poison")


@pytest.fixture(scope="module", autouse=True)
def burners() -> Iterator[None]:
    """Processes that compute all the time, at a low priority."""
    lower = "os.nice(5) if hasattr(os, 'nice') else None"
    code = f"import os\n{lower}\nwhile os.getppid() == {{pid}}: sum(range(9999))"
    command = [sys.executable, "-c", code.format(pid=os.getpid())]
    processes = [subprocess.Popen(command) for _ in range(LOAD)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def chosen() -> list[Exercise]:
    return [one for one in catalogue() if REPEATS or one.id in SAMPLE]


def verdict_on(exercise: Exercise, code: str, stages: tuple[str, ...]) -> tuple[str, str]:
    """Return what a check says of this code: its kind, and the code of what it found."""
    verdict = run(exercise, code, stages)
    return str(verdict.kind), verdict.code


@pytest.mark.parametrize("exercise", chosen(), ids=lambda exercise: exercise.id)
def test_the_verdict_does_not_depend_on_the_load(exercise: Exercise) -> None:
    stages = STAGES if REPEATS else (SIMULATED,)
    codes = {"solution": (solution_of(exercise), (str(Kind.PASS), ""))}
    wrong = sorted((exercise.folder / "wrong").glob("*.py"))
    for file in wrong if REPEATS else wrong[:1]:
        code = file.read_text(encoding="utf-8")
        rejected_by = REJECTED_BY.match(code)
        assert rejected_by is not None
        codes[file.name] = code, (str(Kind.FAIL), rejected_by[1])
    for name, (code, expected) in codes.items():
        with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
            checks = [pool.submit(verdict_on, exercise, code, stages) for _ in range(REPEATS or 2)]
            verdicts = Counter(check.result() for check in checks)
        print(exercise.id, name, dict(verdicts))
        assert set(verdicts) <= {expected, (str(Kind.INCONCLUSIVE), "")}, (name, verdicts)
        assert expected in verdicts, f"{name}: nothing but inconclusive"
