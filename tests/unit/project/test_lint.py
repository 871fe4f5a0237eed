"""Style and types are part of the test suite: one command shows whether a change is fit to be committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.py"))
SOURCES = ("labkit", "workers", "benchmarks", "tests", "lab.py", *NOTEBOOKS)


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "--output-format=concise"], ["mypy", "--no-error-summary"]],
    ids=["style", "types"],
)
def test_the_code_is_clean(command: list[str]) -> None:
    present = [name for name in SOURCES if (ROOT / name).exists()]
    checked = subprocess.run(
        [sys.executable, "-m", *command, *present], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if checked.returncode:
        pytest.fail(f"{' '.join(command)} says:\n{checked.stdout}{checked.stderr}", pytrace=False)
