"""Every notebook runs from top to bottom in a fresh kernel (nbval), in time, and leaves nothing behind.

Each runs as a student's would: the file that is committed, in a folder and with a home of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import pytest

from notebooks import build
from tests.conftest import processes_at_home_in
from tests.tools.waiting import wait_until

BUDGET_S = 280
"""For one notebook on a machine that is busy with others; alone it takes a fifth of that. No test has 300."""

NBVAL = ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={build.CELL_TIMEOUT_S}"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("notebooks")]


@pytest.mark.parametrize(("name", "lang"), [*product(build.names(), build.LANGUAGES)])
def test_a_notebook_runs_in_a_fresh_kernel_and_leaves_nothing_behind(
    name: str, lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home, scratch = tmp_path / lang, tmp_path / "home", tmp_path / "scratch"
    for each in (folder, home, scratch):
        each.mkdir()
    # Unix sockets have short names: in a folder as deep as pytest's there would be none.
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime := tempfile.mkdtemp(prefix="lab"))
    notebook = shutil.copy(build.notebook_path(name, lang), folder)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    other = {"es": "en", "en": "es"}[lang]  # the notebook's language must win over the machine's
    began = time.monotonic()
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-c",
            str(tmp_path / "pytest.ini"),
            "--rootdir",
            str(tmp_path),
            *NBVAL,
            notebook,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=BUDGET_S,
        env={
            **os.environ,
            "LABKIT_HOME": str(home / "labkit"),
            "LABKIT_LANG": other,
            "HOME": str(home),
            "TMPDIR": str(scratch),
        },
    )
    assert ran.returncode == 0, f"after {time.monotonic() - began:.0f} s\n{ran.stdout}\n{ran.stderr}"
    wait_until(lambda: not processes_at_home_in(str(home)), 10.0, "the notebook's last process to end")
    assert [path.name for path in folder.iterdir()] == [f"{name}.ipynb"]
    assert [path for path in scratch.rglob("*") if not path.is_dir()] == []
    # The folder for the sockets of clusters, one a user, stays; no socket may be in it.
    assert [path for path in Path(runtime).rglob("*") if not path.is_dir()] == []
    shutil.rmtree(runtime)
    clusters = home / "labkit" / "clusters"
    assert not clusters.exists() or not list(clusters.iterdir())
