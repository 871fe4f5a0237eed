"""A cluster that stays needs no temporary folder; a private one names what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.imaging.photos import bundled
from tests.tools.command_line import ROOT, free_ports

NOWHERE = """
import errno, tempfile

def refuse(*_):
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']")

tempfile._get_default_tempdir = refuse
"""
READ_ONLY = """
import errno, os

BELOW = os.path.join(os.environ["TMPDIR"], "labkit-")

def refusing(real):
    def act(path, *args, **named):
        if not isinstance(path, int) and os.fsdecode(path).startswith(BELOW):
            raise OSError(errno.EROFS, "Read-only file system", path)
        return real(path, *args, **named)
    return act

os.mkdir, os.unlink, os.rmdir = refusing(os.mkdir), refusing(os.unlink), refusing(os.rmdir)
"""


class Lab:
    """Runs command lines in processes whose temporary folder ``broken`` (a program) has made unusable."""

    def __init__(self, folder: Path, broken: str) -> None:
        (folder / "stub").mkdir()
        (folder / "stub" / "sitecustomize.py").write_text(broken)
        (folder / "tmp").mkdir()
        (folder / "tmp" / "labkit-0123456789ab").mkdir()
        os.utime(folder / "tmp" / "labkit-0123456789ab", (0, 0))  # left behind long ago
        self.home = folder / "home"
        self._environ = {
            **{name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"},
            **free_ports(),
            "LABKIT_HOME": str(self.home),
            "PYTHONPATH": f"{folder / 'stub'}{os.pathsep}{ROOT}",
            "TMPDIR": str(folder / "tmp"),
        }

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "labkit", *map(str, words))

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [sys.executable, *words], env=self._environ, cwd=ROOT, text=True, capture_output=True, timeout=60
        )
        assert "Traceback" not in ran.stderr + ran.stdout, ran.stderr
        return ran


@pytest.fixture(params=["nowhere", "read-only"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path, NOWHERE if request.param == "nowhere" else READ_ONLY)
    yield lab
    lab("down")


def test_up_and_its_workers_need_no_temporary_folder(lab: Lab, tmp_path: Path) -> None:
    up = lab("up", "--workers", 2)
    assert up.returncode == 0, up.stderr
    picture = tmp_path / "cat.png"
    picture.write_bytes(bundled()[0].path.read_bytes())
    done = lab("submit", picture, "--filters", "blur", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert lab("kill", "worker-1").returncode == 0
    logs = "".join(path.read_text() for path in lab.home.rglob("*.log"))
    assert logs.count("Unix socket") == 1, "one line tells that peers use the ports"
    assert "Traceback" not in logs and logs.count("worker-2 started") == 1, "no worker crashes in a loop"
    assert lab("down").returncode == 0


def test_a_private_cluster_needs_a_folder_and_says_so_in_one_line(tmp_path: Path) -> None:
    lab = Lab(tmp_path, NOWHERE)
    ran = lab("demo", "--out", tmp_path / "demo")
    lines = ran.stderr.strip().splitlines()
    assert ran.returncode == 1 and "TMPDIR" in lines[-1] and "No usable temporary directory" in lines[-1]
    program = """
        from labkit import open_cluster
        from labkit.core.errors import LabkitError
        try:
            open_cluster(1)
        except LabkitError as error:
            print(type(error).__name__)
    """
    assert lab.python("-c", "if 1:" + program).stdout == "NoTemporaryFolder\n"
