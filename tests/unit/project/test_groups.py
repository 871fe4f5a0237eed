"""Tests that must not run beside each other share an ``xdist_group``: pytest and pytest-xdist keep it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MODULE = """
import pytest
pytestmark = pytest.mark.xdist_group("one at a time")
@pytest.mark.parametrize("number", range(4))
def test_one(number): pass
"""


def test_a_group_runs_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(MODULE, encoding="utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:nbval"]
    options = ["-v", "-n", "2", "--dist", "loadgroup", *plugins, "-c", "pytest.ini", "--rootdir", "."]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout
    where = re.findall(r"^\[(gw\d)\] .*PASSED", ran.stdout, re.MULTILINE)
    assert len(where) == 8 and len(set(where)) == 1, ran.stdout
