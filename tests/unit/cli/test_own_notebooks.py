"""A learner's copies of the notebooks: made when missing, brought up to date, and never overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cli import own_notebooks
from labkit.cli.own_notebooks import CopiesFailed, bring, make
from labkit.support.atomic_files import atomic_write
from tests.tools.command_line import ROOT


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("day1.ipynb", "day2.ipynb", "day1_teacher.md"):
        (folder / name).write_text(f"first {name}", encoding="utf-8")
    (folder / "build.py").write_text("not for learners", encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "home" / "course" / "es"


def texts(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir())
        if path.name != own_notebooks.MADE
    }


FIRST = {name: f"first {name}" for name in ("day1.ipynb", "day1_teacher.md", "day2.ipynb")}


def test_first_start_copies_everything_and_the_second_nothing(course: Path, mine: Path) -> None:
    assert make(course, mine).made == ["day1.ipynb", "day2.ipynb", "day1_teacher.md"]
    assert texts(mine) == FIRST
    assert make(course, mine) == ([], [], [])


def test_unedited_copy_follows_the_course(course: Path, mine: Path) -> None:
    make(course, mine)
    (course / "day1.ipynb").write_text("second", encoding="utf-8")
    assert make(course, mine) == (["day1.ipynb"], [], [])
    assert texts(mine) == FIRST | {"day1.ipynb": "second"}


def test_edited_copy_stays_and_a_newer_version_is_announced(course: Path, mine: Path) -> None:
    make(course, mine)
    (mine / "day1.ipynb").write_text("mine", encoding="utf-8")
    assert make(course, mine) == ([], [], [])
    (course / "day1.ipynb").write_text("second", encoding="utf-8")
    (course / "day2.ipynb").write_text("second", encoding="utf-8")
    for made in (["day2.ipynb"], []):
        assert make(course, mine) == (made, ["day1.ipynb"], [])
    assert texts(mine) == FIRST | {"day1.ipynb": "mine", "day2.ipynb": "second"}


def test_fresh_copies_keep_each_edited_version_under_another_name(course: Path, mine: Path) -> None:
    make(course, mine)
    for number in (1, 2):
        (mine / "day1.ipynb").write_text(f"mine {number}", encoding="utf-8")
        assert make(course, mine, fresh=True) == (["day1.ipynb"], [], [f"day1_mine_{number}.ipynb"])
    expected = {"day1_mine_1.ipynb": "mine 1", "day1_mine_2.ipynb": "mine 2"}
    assert texts(mine) == FIRST | expected
    assert make(course, mine, fresh=True) == ([], [], [])


def notebook(source: str, output: object = "1", **metadata: object) -> str:
    outputs = [{"output_type": "stream", "name": "stdout", "text": output}]
    cell = {"cell_type": "code", "source": source, "outputs": outputs, "metadata": metadata}
    return json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def test_opened_notebook_counts_as_unedited_and_a_run_one_as_edited(course: Path, mine: Path) -> None:
    (course / "day1.ipynb").write_text(notebook("a\nb", "1\n2"), encoding="utf-8")
    make(course, mine)
    opened = json.loads((mine / "day1.ipynb").read_text(encoding="utf-8"))
    opened["metadata"]["kernelspec"] = "another"
    opened["cells"][0]["source"] = ["a\n", "b"]
    (mine / "day1.ipynb").write_text(json.dumps(opened), encoding="utf-8")
    (course / "day1.ipynb").write_text(notebook("c"), encoding="utf-8")
    assert make(course, mine) == (["day1.ipynb"], [], [])
    for written in (notebook("c", "another"), notebook("mine")):
        (mine / "day1.ipynb").write_text(written, encoding="utf-8")
        (course / "day1.ipynb").write_text(notebook(f"newer than {written}"), encoding="utf-8")
        assert make(course, mine) == ([], ["day1.ipynb"], [])


def test_deleted_copy_is_restored(course: Path, mine: Path) -> None:
    make(course, mine)
    (mine / "day2.ipynb").unlink()
    assert make(course, mine).made == ["day2.ipynb"]


@pytest.mark.parametrize("spoilt", ["", "{", "[]", None])
def test_without_a_record_no_edited_copy_is_overwritten(course: Path, mine: Path, spoilt: str | None) -> None:
    make(course, mine)
    (mine / "day1.ipynb").write_text("mine", encoding="utf-8")
    record = mine / own_notebooks.MADE
    record.unlink() if spoilt is None else record.write_text(spoilt, encoding="utf-8")
    (course / "day1.ipynb").write_text("second", encoding="utf-8")
    make(course, mine)
    assert texts(mine) == FIRST | {"day1.ipynb": "mine"}
    # A file equal to the course's is recognised as unedited.
    (course / "day2.ipynb").write_text("second", encoding="utf-8")
    assert make(course, mine).made == ["day2.ipynb"]


def test_interrupted_copying_leaves_no_half_file_and_is_finished_later(
    course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(course, mine)
    for name in ("day1.ipynb", "day2.ipynb"):
        (course / name).write_text(f"second {name}", encoding="utf-8")
    write, left = atomic_write, 0

    def interrupted(path: Path, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        write(path, data)

    monkeypatch.setattr(own_notebooks, "atomic_write", interrupted)
    for steps in (0, 1, 1, 1):
        left = steps
        with pytest.raises(KeyboardInterrupt):
            make(course, mine)
    monkeypatch.undo()
    make(course, mine)
    assert texts(mine) == FIRST | {name: f"second {name}" for name in ("day1.ipynb", "day2.ipynb")}
    assert make(course, mine) == ([], [], [])


def test_unwritable_folder_is_reported_with_a_solution(course: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CopiesFailed, match="cannot be copied to .*; make room, or set LABKIT_HOME"):
        make(course, tmp_path / "file" / "es")


def test_container_reports_an_unwritable_volume_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "labkit.cli.own_notebooks", str(tmp_path), str(tmp_path / "full")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LABKIT_LANG": "es", "PYTHONPATH": str(ROOT)},
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1 and "no se pueden copiar" in ran.stderr


def test_container_copies_all_languages_and_reports_outdated_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    courses, home = tmp_path / "image", tmp_path / "volume"
    for lang in ("en", "es"):
        (courses / lang).mkdir(parents=True)
        (courses / lang / "day1.ipynb").write_text("first", encoding="utf-8")
    bring(courses, home)
    assert capsys.readouterr().out == ""
    (home / "es" / "day1.ipynb").write_text("mine", encoding="utf-8")
    for lang in ("en", "es"):
        (courses / lang / "day1.ipynb").write_text("second", encoding="utf-8")
    bring(courses, home)
    assert "newer version of es/day1.ipynb; yours stays" in capsys.readouterr().out
    found = {lang: texts(home / lang)["day1.ipynb"] for lang in ("en", "es")}
    assert found == {"en": "second", "es": "mine"}


def test_fresh_copy_shows_no_outputs_and_the_course_keeps_its_own(course: Path, mine: Path) -> None:
    cell = {"cell_type": "code", "source": "6 * 7", "metadata": {}, "execution_count": 3, "id": "a"}
    answer = {"output_type": "execute_result", "execution_count": 3, "data": {"text/plain": "42"}}
    prose = {"cell_type": "markdown", "source": "# Day 1", "metadata": {}, "id": "b"}
    published = json.dumps({"cells": [prose, {**cell, "outputs": [answer]}], "metadata": {}, "nbformat": 4})
    (course / "day1.ipynb").write_text(published, encoding="utf-8")
    make(course, mine)
    told, asked = json.loads((mine / "day1.ipynb").read_text(encoding="utf-8"))["cells"]
    assert (asked["outputs"], asked["execution_count"]) == ([], None)
    assert (told, asked["source"]) == (prose, "6 * 7")
    assert (course / "day1.ipynb").read_text(encoding="utf-8") == published
    assert make(course, mine) == ([], [], [])


def test_copy_that_was_made_with_outputs_is_replaced_unless_edited(course: Path, mine: Path) -> None:
    mine.mkdir(parents=True)
    for name in ("day1.ipynb", "day2.ipynb"):
        (course / name).write_text(notebook("6 * 7", "42"), encoding="utf-8")
    whole = (course / "day1.ipynb").read_bytes()
    record = {name: own_notebooks.digest(whole) for name in ("day1.ipynb", "day2.ipynb")}
    (mine / own_notebooks.MADE).write_text(json.dumps(record), encoding="utf-8")
    (mine / "day1.ipynb").write_bytes(whole)
    (mine / "day2.ipynb").write_text(notebook("6 * 7 + 1", "43"), encoding="utf-8")
    assert make(course, mine).made == ["day1.ipynb", "day1_teacher.md"]
    assert "42" not in (mine / "day1.ipynb").read_text(encoding="utf-8")
    assert "43" in (mine / "day2.ipynb").read_text(encoding="utf-8")
