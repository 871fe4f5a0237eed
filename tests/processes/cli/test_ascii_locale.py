"""File names outside of ASCII, in a locale that knows only ASCII: no command ends in UnicodeEncodeError."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.imaging import photos
from labkit.support import utf8
from tests.tools.command_line import ROOT, free_ports
from tests.tools.waiting import require

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LABKIT_LANG": "es"}
NAMES = ("piña.png", "año 🍍.png", "Ñandú.PNG")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    require(sys.platform != "win32", "a locale of ASCII")
    (tmp_path / "fotos ñ").mkdir()
    for name, photo in zip(NAMES, photos.bundled(), strict=False):
        (tmp_path / "fotos ñ" / name).write_bytes(photo.bytes())
    return tmp_path


def run(home: Path, *words: str, code: str = "") -> str:
    command = [sys.executable, *(["-c", code] if code else ["-P", "-m", "labkit"]), *words]
    ran = subprocess.run(
        command,
        cwd=home,
        env={
            **os.environ,
            **ASCII,
            "PYTHONPATH": str(ROOT),
            "LABKIT_HOME": str(home / "casa ñ"),
            **free_ports(),
        },
        capture_output=True,
        timeout=120,
    )
    said = ran.stdout.decode("utf-8")
    assert ran.returncode == 0, said + ran.stderr.decode("utf-8")
    return said


@pytest.mark.parametrize("engine", ["sequential", "threads", "processes"])
def test_pictures_keep_their_names(home: Path, engine: str) -> None:
    said = run(home, "submit", "fotos ñ", "--filters", "blur", "--out", "después", "--engine", engine)
    assert "3 de 3 imágenes" in said and "Los resultados están en después." in said
    assert {path.name for path in (home / "después").iterdir()} == {
        "piña-blur.png",
        "año 🍍-blur.png",
        "Ñandú-blur.png",
    }
    again = ("--json", "--overwrite", "--engine", engine)
    listed = run(home, "submit", "fotos ñ", "--filters", "blur", "--out", "después", *again)
    assert "piña.png" in json.dumps(json.loads(listed), ensure_ascii=False)


def test_a_background_cluster_lives_in_a_folder_of_such_a_name(home: Path) -> None:
    run(home, "up", "--workers", "1")
    try:
        assert "listo" in run(home, "status")
        assert "3 de 3 imágenes" in run(home, "submit", "fotos ñ", "--filters", "blur", "--out", "día")
    finally:
        said = run(home, "down")
    assert str(home / "casa ñ") in said


JOBS = """
from pathlib import Path

def write(folder, name):
    Path(folder, name).write_text("ñ", encoding="utf-8")
    print("escribí", name)
    return name
"""
PROGRAM = """
import os, sys
sys.path.insert(0, os.getcwd())
from labkit import open_cluster, open_executor
from work import jobs
if __name__ == "__main__":
    with open_cluster(workers=1) as cluster, open_executor("cluster", cluster=cluster) as executor:
        for name in ("pi\\u00f1a.txt", "\\U0001f34d.txt"):
            assert executor.submit(jobs.write, ".", name).result(30) == name
"""


def test_a_workers_task_may_name_such_files_though_the_program_cannot(home: Path) -> None:
    (home / "work").mkdir()
    (home / "work" / "__init__.py").touch()
    (home / "work" / "jobs.py").write_text(JOBS, encoding="utf-8")
    run(home, code=PROGRAM)
    assert {path.name for path in home.glob("*.txt")} == {"piña.txt", "🍍.txt"}


def test_a_python_that_is_told_to_stay_with_ascii_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    monkeypatch.setenv("PYTHONUTF8", "0")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, words: started.append(words))
    utf8.start_again_if_needed()
    utf8.start_again_if_needed()
    assert started == [[sys.executable, *sys.orig_argv[1:]]] and os.environ["PYTHONUTF8"] == "1"
