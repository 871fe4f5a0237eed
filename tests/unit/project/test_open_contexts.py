"""A file of tests that leaves a client, a broker or a socket open fails, and the place is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from labkit.transport.sockets import new_context
from tests.tools import open_contexts
from tests.tools.source_tree import ROOT

LEAVES = """
from labkit.transport.sockets import new_context
kept = []
def test_tidy():
    new_context().term()
def test_untidy():
    kept.append(new_context())
"""
PLUGIN = ["-p", "tests.tools.open_contexts", "-p", "no:cacheprovider"]


def test_open_context_is_listed_with_its_opener_until_it_is_closed() -> None:
    file = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
    context = new_context()
    (where,) = open_contexts.left_open(file)
    assert "::test_open_context_is_listed" in where
    assert "by labkit/transport/sockets.py" in where and "tests/unit/project/test_open_contexts.py" in where
    assert open_contexts.left_open("tests/another.py") == []
    context.term()
    assert open_contexts.left_open(file) == []


def test_a_file_that_leaves_a_context_open_fails_and_the_next_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text(LEAVES)
    (tmp_path / "test_b.py").write_text(LEAVES.replace("kept.append(new_context())", "pass"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGIN, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "4 passed, 1 error" in ran.stdout, ran.stdout + ran.stderr
    assert "left open by the tests of this file" in ran.stdout
    assert "in test_a.py::test_untidy (call), by labkit/transport/sockets.py" in ran.stdout
