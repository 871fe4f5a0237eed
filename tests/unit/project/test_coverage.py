"""Coverage as the whole suite measures it: with pyproject.toml's settings, on a project of two functions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
def doubled(n):
    return 2 * n

def halved(n):
    if n % 2:
        raise ValueError(n)
    return n // 2
"""
TESTS = """
import labkit, pytest

def test_doubled():
    assert labkit.doubled(2) == 4

{mark}
def test_halved():
    assert labkit.halved(2) == 1
    with pytest.raises(ValueError):
        labkit.halved(3)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("labkit", "workers"):
        (tmp_path / package).mkdir()
    (tmp_path / "labkit" / "__init__.py").write_text(CODE)
    (tmp_path / "workers" / "__init__.py").write_text("")
    (tmp_path / "tests").mkdir()
    return tmp_path


def run(tree: Path, mark: str = "") -> subprocess.CompletedProcess[str]:
    (tree / "tests" / "test_halves.py").write_text(TESTS.format(mark=mark))
    options = ["-n", "2", "--cov", "--cov-report=", "-p", "no:hypothesispytest", "-p", "no:nbval"]
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", *options]
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)


def test_the_summary_tells_lines_and_branches_and_ends_with_pytests_own_line(tree: Path) -> None:
    ran = run(tree)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Total coverage: 100.00%" in ran.stdout
    assert re.search(r"2 passed in [\d.]+s", ran.stdout.splitlines()[-1])


def test_less_than_the_floor_fails_the_run(tree: Path) -> None:
    ran = run(tree, mark="@pytest.mark.no_cover")
    assert ran.returncode == 1
    # Of 6 statements and 2 branches, those of `halved` are missed: its tests are not measured.
    assert "Total coverage: 37.50%" in ran.stdout and "FAIL" in ran.stdout
    assert "2 passed" in ran.stdout.splitlines()[-1]
