r"""The same code gets the same verdict on a machine at load 8, or an inconclusive one, never another.

Here a small sample, one check after the other. With PRACTICE_REPEATS=N all exercises, each solution and each
wrong one N times, with three checks side by side above the same load. PRACTICE_WRONG=1: of each exercise only
the first wrong one. ``-k`` names an exercise, ``-s`` shows the counts, and no test is ended after five
minutes::

    PRACTICE_REPEATS=100 PRACTICE_WRONG=1 python -m pytest -n 0 -s -o faulthandler_timeout=0 \
        tests/processes/practice/test_same_verdict.py -k knee
"""

from __future__ import annotations

import json
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
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.verify import REJECTED_BY, run
from labkit.practice.workspace import solution_of

LOAD = 8
REPEATS = int(os.environ.get("PRACTICE_REPEATS", "0"))
WRONG = int(os.environ.get("PRACTICE_WRONG", "1000" if REPEATS else "1"))
AT_ONCE = 3 if REPEATS else 1
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


def codes_of(exercise: Exercise) -> dict[str, tuple[str, tuple[str, str]]]:
    """Return the codes to be checked, by name: each with the kind and the code of its verdict."""
    codes = {"solution": (solution_of(exercise), (str(Kind.PASS), ""))}
    for file in sorted((exercise.folder / "wrong").glob("*.py"))[:WRONG]:
        code = file.read_text(encoding="utf-8")
        rejected_by = REJECTED_BY.match(code)
        assert rejected_by is not None
        codes[file.name] = code, (str(Kind.FAIL), rejected_by[1])
    return codes


def told(verdict: Verdict) -> tuple[str, str]:
    """Return what counts of a verdict: its kind, and the code of what it found."""
    return str(verdict.kind), verdict.code


@pytest.mark.parametrize("exercise", chosen(), ids=lambda exercise: exercise.id)
def test_the_verdict_does_not_depend_on_the_load(exercise: Exercise) -> None:
    stages = STAGES if REPEATS else (SIMULATED,)
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
        for name, (code, expected) in codes_of(exercise).items():
            checks = [pool.submit(run, exercise, code, stages) for _ in range(REPEATS or 2)]
            verdicts = [check.result() for check in checks]
            counts = Counter(map(told, verdicts))
            print(exercise.id, name, dict(counts))
            odd = [one for one in verdicts if told(one) not in (expected, (str(Kind.INCONCLUSIVE), ""))]
            assert not odd, (name, counts, json.dumps(odd[0].as_json(), indent=1, default=str))
            assert expected in counts, f"{name}: nothing but inconclusive: {verdicts[0].as_json()}"
