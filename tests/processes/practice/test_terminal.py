"""Every command of ``practice`` in a terminal of 80 and of 40 columns and without one, in both languages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.practice.exercise import find
from labkit.practice.progress import Progress
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import Workspace, solution_of, stub_of
from tests.tools.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

ROOT = Path(__file__).parents[3]
FIRST, QUICK = find("first-task"), find("one-error")

COMMANDS: tuple[tuple[str, int, tuple[str, str]], ...] = (
    ("", 0, ("of 25 exercises", "de 25 ejercicios")),
    ("list --day 1", 0, ("Day 1", "Día 1")),
    ("start one-error", 0, ("Your file: ", "Tu archivo: ")),
    ("start one-error", 0, ("as you left it", "como lo dejaste")),
    ("check one-error", 1, ("expected", "esperado")),
    ("check one-error --seed 3", 1, ("with seed 3", "con la semilla 3")),
    ("check one-error --real", 2, ("no stage on real processes", "no tiene etapa con procesos reales")),
    ("check --all", 1, ("not yet", "todavía no")),
    ("check one-error --json", 1, ('"kind": "fail"', '"kind": "fail"')),
    ("hint one-error", 0, ("Hint 1 of 3", "Pista 1 de 3")),
    ("hint one-error --level 3", 0, ("Hint 3 of 3", "Pista 3 de 3")),
    ("solution one-error", 2, ("--yes", "--yes")),
    ("solution one-error --yes", 0, ("def run_all", "def run_all")),
    ("solution one-error --yes --diff", 0, ("+++", "+++")),
    ("reset one-error", 0, ("is kept: ", "se conserva: ")),
    ("reset makespan", 2, ("practice start makespan", "practice start makespan")),
    ("progress", 0, ("of 25 exercises", "de 25 ejercicios")),
    ("progress --json", 0, ('"attempts"', '"attempts"')),
    ("export texts --solutions", 0, ("exercises are in texts", "en texts")),
    ("grade class --exercise one-error --simulated", 0, ("The table is in grades.csv", "grades.csv")),
    ("league", 0, ("wins", "gana")),
    ("verify chunks", 0, ("✓ 8", "✓ 8")),
    ("check one-eror", 2, ("one-error?", "one-error?")),
)
"""Words, exit code, and what is shown in English and Spanish."""

PLAY = """
import json, sys
from labkit.cli import main
for words in json.loads(sys.argv[1]):
    print(f"<<<{words}>>>", flush=True)
    code = main(["practice", *words.split()])
    sys.stderr.flush()
    print(f"<<<exit {code}>>>", flush=True)
"""


def segments(shown: str) -> list[tuple[str, int]]:
    """Return what each command printed, and its exit code."""
    found: list[tuple[str, int]] = []
    for part in shown.split("<<<")[1:]:
        head, _, text = part.partition(">>>")
        if head.startswith("exit "):
            found[-1] = found[-1][0], int(head.removeprefix("exit "))
        else:
            found.append((text, -1))
    return found


def prepare(folder: Path) -> None:
    for learner, text in (("Íñigo P", stub_of(QUICK)), ("ana", solution_of(QUICK))):
        (folder / "class" / learner).mkdir(parents=True)
        (folder / "class" / learner / f"{QUICK.module}.py").write_text(text, encoding="utf-8")


def judge(shown: str, language: str) -> None:
    assert "Traceback" not in shown, shown
    said = segments(shown)
    assert len(said) == len(COMMANDS), shown
    for (words, code, texts), (text, exited) in zip(COMMANDS, said, strict=True):
        expected = texts[language == "es"]
        assert exited == code, (words, text)
        assert expected in " ".join(text.split()), (words, text)


@pytest.mark.parametrize(("columns", "language"), [(80, "es"), (40, "en")])
def test_every_command_in_a_terminal(tmp_path: Path, columns: int, language: str) -> None:
    from tests.tools.terminal import terminal

    prepare(tmp_path)
    command = [sys.executable, "-P", "-c", PLAY, json.dumps([words for words, _code, _texts in COMMANDS])]
    with terminal(command, tmp_path, columns, PYTHONPATH=str(ROOT), LABKIT_LANG=language) as screen:
        assert screen.wait_for_end(120) == 0
        judge(screen.shown, language)
    for (words, _code, _texts), (text, _exited) in zip(COMMANDS, segments(screen.shown), strict=True):
        if words in ("", "list --day 1", "check one-error", "progress"):
            lines = [line for line in text.splitlines() if "-m labkit" not in line and "lab.py" not in line]
            assert max(map(len, lines)) <= columns, text


def test_every_command_without_a_terminal(tmp_path: Path) -> None:
    prepare(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", PLAY, json.dumps([words for words, _code, _texts in COMMANDS])],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "LABKIT_LANG": "en"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
    )  # fmt: skip
    shown = ran.stdout.decode()
    judge(shown, "en")
    assert "\x1b" not in shown


# --- watch --------------------------------------------------------------------------------------------------

WATCH = [sys.executable, "-P", "-m", "labkit", "practice", "watch"]


def replace(file: Path, text: str) -> None:
    """Save as many editors do: write another file, then rename it."""
    other = file.with_suffix(".swp")
    other.write_text(text, encoding="utf-8")
    other.replace(file)


def test_watch_takes_saves_keys_sizes_and_a_file_that_goes(tmp_path: Path) -> None:
    from tests.tools.terminal import terminal

    file = tmp_path / "work" / f"{QUICK.module}.py"
    with terminal([*WATCH, QUICK.id], tmp_path, 40, PYTHONPATH=str(ROOT), LABKIT_LANG="es") as screen:
        screen.wait_for("q salir")
        assert "todavía no" in screen.shown and file.exists()
        keys = {"h": "Pista 1 de 3", "H": "Pista 2 de 3", "l": "Día 4", "s": "one-error --yes"}
        for key, text in keys.items():
            screen.type(key)
            screen.wait_for(text)
        screen.type("t")
        screen.wait_for("q salir", 6)
        screen.resize(100)
        file.unlink()
        replace(file, "def run_all(:\n")
        screen.wait_for("no se puede importar")
        file.write_text(solution_of(QUICK))
        screen.wait_for("aprobado")
        screen.type("n")
        screen.wait_for("Tu archivo: ")
        assert (tmp_path / "work" / f"{FIRST.module}.py").exists()
        screen.type("q")
        assert screen.wait_for_end() == 0
        assert screen.is_line_by_line()
    assert "Traceback" not in screen.shown


def test_watch_ends_with_ctrl_c_and_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    from tests.tools.terminal import terminal

    file = tmp_path / "work" / f"{QUICK.module}.py"
    file.parent.mkdir()
    file.write_text("while True:\n    pass\n")
    with terminal([*WATCH, QUICK.id], tmp_path, PYTHONPATH=str(ROOT), LABKIT_LANG="en") as screen:
        screen.wait_for("checking")
        screen.process.send_signal(2)
        assert screen.wait_for_end() == 130
        assert screen.is_line_by_line()
    assert "Traceback" not in screen.shown


def test_watch_goes_on_from_what_is_passed(tmp_path: Path) -> None:
    from tests.tools.terminal import terminal

    Progress(Workspace(tmp_path)).checked(Verdict(FIRST.id, Kind.PASS))
    with terminal(WATCH, tmp_path, PYTHONPATH=str(ROOT), LABKIT_LANG="en") as screen:
        screen.wait_for("q quit", timeout_s=60)
        screen.type("q")
        assert screen.wait_for_end() == 0
    assert "ex02_thread_pool.py" in screen.shown


def test_watch_without_a_terminal_prints_the_same_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "work" / f"{QUICK.module}.py"
    shown = tmp_path / "shown"
    with shown.open("wb") as output:
        process = subprocess.Popen(
            [*WATCH, QUICK.id], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LABKIT_LANG": "en"},
        )  # fmt: skip
    try:
        wait_until(lambda: "not yet" in shown.read_text(), 30, "the first verdict")
        replace(file, solution_of(QUICK))
        wait_until(lambda: "passed" in shown.read_text(), 30, "the verdict on what was saved")
        wait_until(lambda: "goes on to" in shown.read_text(), 5, "the next exercise")
    finally:
        process.send_signal(2)
        code = process.wait(20)
    text = shown.read_text()
    assert code == 130 and "Traceback" not in text and "\x1b" not in text and "q quit" not in text
