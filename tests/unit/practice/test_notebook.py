"""The magics of a notebook: what a cell saves, what stands under it, and no traceback of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import IPython.display
import pytest

from labkit.practice import notebook
from labkit.practice.exercise import Exercise
from labkit.practice.screen import Line
from labkit.practice.session import Practice
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import stub_of
from labkit.support.i18n import set_language


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What cells have shown, as text."""
    texts: list[str] = []

    def display(one: Any) -> None:
        texts.append(one.data if hasattr(one, "data") else str(one))

    monkeypatch.setattr(IPython.display, "display", display)
    return texts


@pytest.fixture
def mine(root: Path, exercise: Exercise, monkeypatch: pytest.MonkeyPatch) -> Practice:
    """A practice of two exercises; the verdict is what the file says: pass, fail or inconclusive."""
    other = Exercise("triple", 98, 3, 5, (), 2, exercise.folder)
    practice = Practice(root, [exercise, other])
    monkeypatch.setattr(notebook, "practice", lambda: practice)

    def check(one: Exercise, *_stages: object) -> Verdict:
        code = practice.workspace.file(one).read_text("utf-8")
        kind = next((kind for kind in Kind if kind.value in code), Kind.FAIL)
        seed = 4 if kind is Kind.FAIL else None
        verdict = Verdict(one.id, kind, "simulated", seed=seed, happened="so", expected="thus", advice="try")
        practice.progress.checked(verdict)
        return verdict

    monkeypatch.setattr(practice, "check", check)
    return practice


def test_a_cell_is_saved_checked_and_answered(mine: Practice, exercise: Exercise, shown: list[str]) -> None:
    notebook.exercise("double", "# fail\n")
    assert mine.workspace.file(exercise).read_text("utf-8") == "# fail\n"
    (text,) = shown
    assert text.startswith("✗ 97 · Twice: not yet")
    assert "%check double --seed 4 repeats it" in text
    assert "0 of 2 exercises" in text and "%hint double in a cell of its own shows hint 1" in text


def test_after_a_pass_the_next_exercise_is_named(mine: Practice, shown: list[str]) -> None:
    notebook.exercise("double", "# pass\n")
    assert "✓ 97 · Twice: passed" in shown[0] and "1 of 2 exercises" in shown[0]
    assert "Next: 98 · Twice (%%exercise triple)" in shown[0]
    notebook.exercise("triple", "# pass\n")
    assert "Every exercise here is passed." in shown[1]


def test_an_inconclusive_check_asks_for_the_same_cell_again(mine: Practice, shown: list[str]) -> None:
    notebook.exercise("double", "# inconclusive\n")
    assert "inconclusive" in shown[0] and "Next: run the cell again." in shown[0]
    assert "Stuck" not in shown[0]


def test_a_file_edited_elsewhere_is_kept_but_no_stub_of_any_language(
    mine: Practice, exercise: Exercise, shown: list[str]
) -> None:
    file = mine.workspace.file(exercise)
    for lang in ("es", "en"):
        file.write_text(stub_of(exercise, lang), encoding="utf-8")
        notebook.exercise("double", "# fail\n")
        assert "is kept" not in shown[-1]
    file.write_text("# from an editor\n", encoding="utf-8")
    notebook.exercise("double", "# fail again\n")
    assert "The file that was there is kept" in shown[-1]
    (kept,) = (mine.workspace.folder / "backups").iterdir()
    assert kept.read_text("utf-8") == "# from an editor\n"


def test_check_uses_the_saved_file(mine: Practice, exercise: Exercise, shown: list[str]) -> None:
    mine.workspace.file(exercise).write_text("# pass\n", encoding="utf-8")
    notebook.check("double")
    notebook.check("double --seed 4")
    assert all("passed" in text for text in shown) and len(shown) == 2


def test_hints_come_one_after_the_other_or_by_number(mine: Practice, shown: list[str]) -> None:
    for _number in range(4):
        notebook.hint("double")
    notebook.hint("double 1")
    assert [text.split("\n\n")[1] for text in shown] == ["one", "two", "three", "three", "one"]
    assert "Hint 1 of 3" in shown[0]


def test_the_solution_waits_for_a_pass_or_a_confirmation(mine: Practice, shown: list[str]) -> None:
    notebook.solution("double")
    assert "not passed yet" in shown[0] and "return 2 * number" not in shown[0]
    notebook.solution("double --yes")
    assert "return 2 * number" in shown[1]
    notebook.exercise("double", "# pass\n")
    notebook.solution("double")
    assert "return 2 * number" in shown[3]


def test_the_list_shows_what_was_tried_and_what_is_next(mine: Practice, shown: list[str]) -> None:
    notebook.exercise("double", "# fail\n")
    notebook.overview("3")
    assert "Day 3" in shown[1] and "· 97  double" in shown[1]
    assert "Next: 97 · Twice (%%exercise double)" in shown[1]


@pytest.mark.parametrize(
    ("magic", "line", "said"),
    [
        ("exercise", "", "needs the id"),
        ("exercise", "dubble", "do you mean double?"),
        ("hint", "double 9", "is no hint"),
        ("hint", "double x", "is no hint"),
        ("check", "double --seed x", "is no seed"),
        ("check", "double", "does not exist"),
        ("overview", "x", "is no day"),
        ("overview", "9", "is no day"),
        ("solution", "nothing", "there is no exercise nothing"),
    ],
)
def test_wrong_input_is_one_sentence(
    root: Path,
    exercise: Exercise,
    monkeypatch: pytest.MonkeyPatch,
    shown: list[str],
    magic: str,
    line: str,
    said: str,
) -> None:
    monkeypatch.setattr(notebook, "practice", lambda: Practice(root, [exercise]))
    getattr(notebook, magic)(line, *(["x = 1\n"] if magic == "exercise" else []))
    (text,) = shown
    assert said in text and "\n" not in text
    assert not list((root / "work").iterdir()), "nothing was written"


def test_the_stop_button_and_a_full_disk_are_sentences(
    mine: Practice, monkeypatch: pytest.MonkeyPatch, shown: list[str]
) -> None:
    def stopped(*_: object) -> Verdict:
        raise KeyboardInterrupt

    def full(*_: object) -> Path | None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mine, "check", stopped)
    notebook.exercise("double", "# x\n")
    monkeypatch.setattr(mine.workspace, "save", full)
    notebook.exercise("double", "# x\n")
    assert "Interrupted" in shown[0] and "No space is left" in shown[1]


def test_begin_registers_the_magics_and_speaks_the_notebooks_language(
    mine: Practice, monkeypatch: pytest.MonkeyPatch, shown: list[str]
) -> None:
    magics: dict[str, Any] = {}

    class Shell:
        def register_magic_function(self, function: object, kind: str, name: str) -> None:
            magics[name] = (kind, function)

    shell = Shell()
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    try:
        notebook.begin("es", day=3)
    finally:
        set_language(None)
    assert "0 de 2 ejercicios" in shown[0]
    assert magics == {
        "exercise": ("cell", notebook.exercise),
        "hint": ("line", notebook.hint),
        "check": ("line", notebook.check),
        "solution": ("line", notebook.solution),
        "practice": ("line", notebook.overview),
    }


def test_work_is_in_the_labs_folder_for_the_courses_notebooks_and_else_beside_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABKIT_WORK", raising=False)
    monkeypatch.chdir(notebook.ROOT / "notebooks" / "es")
    assert notebook.practice().workspace.root == notebook.ROOT
    monkeypatch.chdir(tmp_path)
    assert notebook.practice().workspace.root == tmp_path
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path / "mine"))
    assert notebook.practice().workspace.root == tmp_path / "mine"


def test_a_verdict_is_html_that_breaks_between_words_and_keeps_a_timeline_in_columns() -> None:
    report = notebook.Report(
        [
            Line("bad", "✗ <b>"),
            Line("labelled", "try        this"),
            Line("code", "worker-1  ██"),
            Line("code", "worker-2    "),
        ]
    )
    html = report._repr_html_()
    assert "✗ &lt;b&gt;" in html and "word-break: normal" in html and "text-indent: -11ch" in html
    assert "worker-1  ██\nworker-2    </pre>" in html and html.count("white-space: pre;") == 1
    assert str(report).splitlines()[1] == "try        this"


@pytest.mark.parametrize(
    ("magic", "line", "named"),
    [("hint", "nothing", "%practice shows all"), ("check", "double", "%%exercise double writes it")],
)
def test_what_is_wrong_is_mended_with_magics(
    mine: Practice, shown: list[str], magic: str, line: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(mine, "check")
    getattr(notebook, magic)(line)
    assert named in shown[-1] and "python -m labkit" not in shown[-1]
