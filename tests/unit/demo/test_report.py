"""What the demo writes is there whole or not at all, and its options are checked before anything starts."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import cast

import pytest

from labkit.core.errors import InvalidInput
from labkit.demo import verdict
from labkit.demo.report import OutFolder
from labkit.demo.run import Ran
from labkit.demo.show import Demo, choose_view
from labkit.demo.story import HARM, Line
from labkit.demo.view import PlainView, View
from tests.tools.command_line import Commands


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def test_files_replace_their_predecessors_and_leave_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with OutFolder(tmp_path).prepared() as out:
        out.write({"report.json": b"new", "a.png": b"1"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "report.json": "new", "a.png": "1", "mine.txt": "mine",
    }  # fmt: skip


def test_a_run_knows_whether_it_replaced_an_earlier_ones_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with OutFolder(tmp_path).prepared() as out:
        assert not out.write({"report.json": b"1", "a.png": b"1"})
        assert out.write({"report.json": b"2", "b.png": b"2"})


@pytest.mark.parametrize("has_replaced", [False, True])
def test_the_verdict_says_that_an_earlier_runs_files_were_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_replaced: bool
) -> None:
    monkeypatch.setattr(verdict, "_verdict", lambda targets, ran, report: "")
    verdict.print_verdict([], cast(Ran, None), {}, Path("there"), has_replaced)
    assert ("earlier run" in capsys.readouterr().out) == has_replaced


def test_failed_write_leaves_the_files_of_the_previous_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("old")
    (tmp_path / "b.png").mkdir()  # nothing can take its place
    with OutFolder(tmp_path).prepared() as out, pytest.raises(InvalidInput, match="cannot be written"):
        out.write({"b.png": b"new", "a.png": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert (tmp_path / "a.png").read_text() == "old"


def test_interrupted_demo_removes_the_folder_that_it_made(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), OutFolder(tmp_path / "a" / "b").prepared():
        assert (tmp_path / "a" / "b").is_dir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_demo_ended_by_sigterm_removes_the_folder_that_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Commands
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Demo, "_gather", lambda demo: signal.raise_signal(signal.SIGTERM))
    said = lab("demo", "--out", tmp_path / "a" / "b")
    assert said.code == 130 and "interrupted" in said.err
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_existing_folder_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), OutFolder(tmp_path).prepared():
        raise KeyboardInterrupt
    assert tmp_path.is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--photos", "{tmp}/nowhere"], "nowhere is not a folder"),
        (["--photos", "{tmp}"], "holds no PNG or JPEG files"),
        (["--photos", "{tmp}/file"], "file is not a folder"),
        (["--out", "{tmp}/file"], "cannot write to {tmp}/file"),
        (["--out", "{tmp}/file/below"], "cannot write to {tmp}/file/below"),
        (["--workers", "1"], "2 to 16 are, because one of them is killed"),
        (["--workers", "three"], "--workers"),
    ],
)
def test_unusable_options_are_refused_in_one_line(
    lab: Commands, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    line = lab.refused("demo", *[word.format(tmp=tmp_path) for word in words], code=2)
    assert said.format(tmp=tmp_path) in line


def test_story_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    view = choose_view(json=False)
    assert isinstance(view, PlainView)
    with view:
        view.title("a demo")
        view.step("counting", 3)
        view.advance(2)
        view.step_done("counted")
        view.tell(Line(1.5, "a worker dies", HARM))
        view.tell(Line(None, "without a time"))
        view.warn("left out: x")
    out, err = capsys.readouterr()
    lines = ["a demo", "", "counted", "   1.50 s  a worker dies", "           without a time", "left out: x"]
    assert (out.splitlines(), err) == (lines, "")


def test_json_view_prints_only_warnings_and_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    view = choose_view(json=True)
    assert type(view) is View
    with view:
        view.title("a demo")
        view.step_done("counted")
        view.tell(Line(1.5, "a worker dies", HARM))
        view.warn("left out: x")
    assert capsys.readouterr() == ("", "left out: x\n")
