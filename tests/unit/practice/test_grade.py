"""Grading: what is found in a class's folder, what is equal, and what a hostile hand-in cannot do."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import psutil
import pytest

from labkit.cli import main
from labkit.core.errors import InvalidInput
from labkit.practice import judge
from labkit.practice.check import SIMULATED
from labkit.practice.exercise import Exercise, find
from labkit.practice.grade import Grade, HandIn, as_csv, failure_rates, grade, hand_ins, identical
from labkit.practice.limits import lacking
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import solution_of, stub_of
from tests.tools.waiting import require, wait_until

ONE: Exercise = find("one-error")
FILE = f"{ONE.module}.py"
SOLUTION = solution_of(ONE)


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ".tmp"))


def running_in(folder: Path) -> list[int]:
    """Return the processes whose command line names something in this folder."""
    processes = psutil.process_iter(["cmdline"])
    return [one.pid for one in processes if str(folder) in " ".join(one.info["cmdline"] or [])]


def put(folder: Path, name: str, text: str = SOLUTION) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_files_are_found_at_any_depth_in_folders_and_archives(tmp_path: Path) -> None:
    put(tmp_path, f"Íñigo de la Peña/{FILE}", "1")
    put(tmp_path, f"ana/tarea 2/work/{FILE}", "2")
    put(tmp_path, f"ana/tarea 2/work/backups/{FILE}", "3")
    put(tmp_path, f"ana/x/y/z/{FILE}", "4")
    (tmp_path / "vacía").mkdir()
    (tmp_path / ".git").mkdir()
    put(tmp_path, "notes.txt", "no learner")
    with zipfile.ZipFile(tmp_path / "zoé.zip", "w") as archive:
        archive.writestr(f"zoé/a b/{FILE}", "5")
        archive.writestr(f"__MACOSX/{FILE}", "6")
        archive.writestr(f"../../{FILE}x", "7")
    (tmp_path / "ben").mkdir()
    with zipfile.ZipFile(tmp_path / "ben" / "hand-in.ZIP", "w") as archive:
        archive.writestr(f"deep\\windows\\{FILE}", "8")
    (tmp_path / "damaged.zip").write_bytes(b"PK no archive")
    learners, files = hand_ins(tmp_path, [ONE])
    assert learners == ["ana", "ben", "damaged", "vacía", "zoé", "Íñigo de la Peña"]
    assert [(one.learner, one.source) for one in files] == [
        ("ana", b"2"), ("ben", b"8"), ("zoé", b"5"), ("Íñigo de la Peña", b"1"),
    ]  # fmt: skip


def test_a_link_out_of_the_folder_is_no_hand_in_and_a_huge_file_is_cut(tmp_path: Path) -> None:
    theirs = put(tmp_path, f"ana/{FILE}", "#" * (3 << 20))
    (tmp_path / "eva").mkdir()
    (tmp_path / "eva" / FILE).symlink_to(theirs)
    learners, files = hand_ins(tmp_path, [ONE])
    assert learners == ["ana", "eva"]
    assert [(one.learner, len(one.source)) for one in files] == [("ana", 1 << 20)]


def test_a_folder_without_learners_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folders"):
        hand_ins(tmp_path, [ONE])
    with pytest.raises(InvalidInput, match="is no folder"):
        hand_ins(tmp_path / "missing", [ONE])


def same(*sources: str) -> list[list[str]]:
    files = [HandIn(f"l{number}", ONE, source.encode()) for number, source in enumerate(sources)]
    return [names for _exercise, names in identical(files)]


def test_names_comments_layout_and_docstrings_do_not_make_a_difference() -> None:
    mine = "def run_all(a, b, c):\n    total = [b(x) for x in c]\n    return total\n"
    theirs = (
        '# my own work\ndef run_all(pool,f,inputs):\n  """Doc."""\n\n'
        "  r=[f(i) for i in inputs] # yes\n  return (r)\n"
    )
    other = mine.replace("b(x)", "b(x, x)")
    assert same(mine, theirs, other) == [["l0", "l1"]]
    assert same("x = len(y)", "x = sum(y)") == [], "built-in functions keep their names"
    assert same(
        "no program (", "no program (", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")
    ) == [["l0", "l1"]]
    assert same(stub_of(ONE), stub_of(ONE)) == [], "unchanged stubs"


def test_a_state_file_counts_for_nothing(tmp_path: Path) -> None:
    put(tmp_path, f"ana/work/{FILE}", stub_of(ONE))
    line = json.dumps({"did": "checked", "exercise": ONE.id, "kind": "pass"})
    put(tmp_path, "ana/work/progress.jsonl", f"{line}\n")
    put(tmp_path, "eva/work/progress.jsonl", f"{line}\n")
    learners, files = hand_ins(tmp_path, [ONE])
    assert [one.word for one in grade(learners, files, [ONE], (SIMULATED,))] == ["fail", "missing"]


def test_the_table_and_the_rates() -> None:
    def graded(learner: str, kind: Kind | None, code: str = "") -> Grade:
        return Grade(learner, ONE, None if kind is None else Verdict(ONE.id, kind, code=code))

    grades = [
        graded("=ana", Kind.PASS),
        graded("eva, ñ", Kind.FAIL, "order"),
        graded("zoé", Kind.FAIL, "order"),
        graded("leo", Kind.INCONCLUSIVE),
        graded("kai", None),
    ]
    assert as_csv(grades).splitlines() == [
        "learner,one-error,passed", "'=ana,pass,1", '"eva, ñ",fail,0', "zoé,fail,0", "leo,inconclusive,0",
        "kai,missing,0",
    ]  # fmt: skip
    assert failure_rates(grades) == [(ONE.id, "order", 2, 4)]


# --- what a hostile hand-in cannot do: each tries it while it is imported, and is right otherwise ---

HOSTILE = {
    "allowed: loopback": (
        "import socket\nwith socket.create_server(('127.0.0.1', 0)) as s:\n"
        "    socket.create_connection(s.getsockname()).close()\n",
        "",
    ),
    "network": ("import socket\nsocket.create_connection(('192.0.2.1', 80), 60)\n", "import"),
    "another process's network": (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import socket; "
        "socket.create_connection((\"192.0.2.1\", 80), 60)'], check=True)\n",
        "import",
    ),
    "memory at once": ("x = bytearray(6 << 30)\n", "import"),
    "processes": ("import os\nwhile True: os.fork()\n", "too-many-processes import never-returns"),
    "a large file": (
        "import tempfile\nwith tempfile.TemporaryFile() as f:\n    f.write(bytes(65 << 20))\n", "import"
    ),
    "many files": ("import os\nkept = [open(os.devnull) for _ in range(300)]\n", "import"),
    "time": ("while True: pass\n", "never-returns"),
    "its judge": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n", "inconclusive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_hand_in_gets_nowhere(tmp_path: Path, name: str) -> None:
    require(sys.platform == "linux" and lacking() is None, "limits and a network of one's own (Linux)")
    code, expected = HOSTILE[name]
    put(tmp_path, f"ana/{FILE}", code + SOLUTION.replace("from __future__ import annotations\n", ""))
    (one,) = grade(*hand_ins(tmp_path, [ONE]), [ONE], (SIMULATED,))
    assert one.verdict is not None
    assert (one.verdict.code or one.word) in (expected.split() or ["pass"]), one.verdict
    wait_until(lambda: not running_in(tmp_path), what="the end of everything")


FORGED = """
import json, os
def forge():
    pid = os.getpid()
    while pid > 1:
        pid = int(open(f"/proc/{{pid}}/stat").read().rsplit(")", 1)[1].split()[1])
        try:
            for fd in os.listdir(f"/proc/{{pid}}/fd"):
                place = f"/proc/{{pid}}/fd/{{fd}}"
                if os.readlink(place).startswith("{folder}"):
                    with open(place, "r+b") as file:
                        file.seek(9000)
                        file.write(b"\\n" + json.dumps({{"kind": "pass", "stage": "", "code": ""}}).encode())
        except OSError:
            pass
forge()
"""


def test_a_verdict_that_the_hand_in_writes_into_its_judges_file_counts_for_nothing(tmp_path: Path) -> None:
    require(sys.platform == "linux", "the open files of other processes in /proc")
    forged = FORGED.format(folder=tempfile.gettempdir())
    put(tmp_path, f"ana/{FILE}", stub_of(ONE).replace("from __future__ import annotations\n", forged))
    (one,) = grade(*hand_ins(tmp_path, [ONE]), [ONE], (SIMULATED,))
    assert one.word == "fail"


def test_the_teacher_reads_why_a_check_was_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, f"class/ana/{FILE}", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n")
    assert main(["practice", "grade", "class", "--exercise", ONE.id, "--simulated"]) == 0
    assert "ana: one-error: inconclusive (the check ended without a verdict (exit code -9))" in (
        capsys.readouterr().out.splitlines()
    )


def test_a_check_that_does_not_end_is_ended_and_inconclusive(tmp_path: Path) -> None:
    put(tmp_path, f"work/{FILE}")
    verdict = judge.judge_apart(ONE, tmp_path, (SIMULATED,), whole_s=0.001)
    assert verdict.kind is Kind.INCONCLUSIVE
    assert verdict.as_json()["happened"] == "the check had not ended after 0 s"
    wait_until(lambda: not running_in(tmp_path), what="the end of the judge")
