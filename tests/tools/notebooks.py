"""Runs a notebook as a student would: plain ``pytest --nbval``, in a folder and with a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import processes_at_home_in
from tests.tools.waiting import wait_until

BUDGET_S = 280
"""For one notebook on a machine that is busy with others; alone it takes a fifth of that. No test has 300."""


def run_as_a_student(notebook: Path, place: Path, lang: str, **variables: str) -> Path:
    """Run ``notebook`` in a fresh kernel; return the folder in which its exercises keep ``work/``.

    nbval compares what cells show with what is stored. Asserts that it passes and leaves nothing behind: no
    process, no file, no socket, no cluster. ``place`` holds the folders of this one run, and ``variables``
    are added to its environment.
    """
    home, scratch, learner = place / "home", place / "scratch", place / "learner"
    for each in (home, scratch, learner):
        each.mkdir()
    # Unix sockets have short names: in a folder as deep as pytest's there would be none.
    runtime = tempfile.mkdtemp(prefix="lab")
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    other = {"es": "en", "en": "es"}[lang]  # the notebook's language must win over the machine's
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    began = time.monotonic()
    ran = subprocess.run(
        [*command, "-c", str(place / "pytest.ini"), "--rootdir", str(place), "--nbval", str(notebook)],
        cwd=notebook.parent,
        capture_output=True,
        text=True,
        timeout=BUDGET_S,
        env={
            **os.environ,
            "LABKIT_HOME": str(home / "labkit"),
            "LABKIT_LANG": other,
            "LABKIT_WORK": str(learner),
            "HOME": str(home),
            "TMPDIR": str(scratch),
            "XDG_RUNTIME_DIR": runtime,
            **variables,
        },
    )
    assert ran.returncode == 0, f"after {time.monotonic() - began:.0f} s\n{ran.stdout}\n{ran.stderr}"
    wait_until(lambda: not processes_at_home_in(str(home)), 10.0, "the notebook's last process to end")
    assert [path.name for path in notebook.parent.iterdir()] == [notebook.name]
    assert [path for path in scratch.rglob("*") if not path.is_dir()] == []
    # The folder for the sockets of clusters, one a user, stays; no socket may be in it.
    assert [path for path in Path(runtime).rglob("*") if not path.is_dir()] == []
    shutil.rmtree(runtime)
    clusters = home / "labkit" / "clusters"
    assert not clusters.exists() or not list(clusters.iterdir())
    return learner
