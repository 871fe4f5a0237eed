"""The learner's files are never overwritten, and the record survives damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.core.errors import InvalidInput
from labkit.practice.exercise import Exercise
from labkit.practice.progress import Progress, Standing
from labkit.practice.screen import next_exercise
from labkit.practice.session import NothingLeft, Practice
from labkit.practice.verdict import Kind, Verdict
from labkit.practice.workspace import Workspace, solution_of, stub_of
from labkit.support.refusals import Refused
from tests.tools.small_disk import small_disk


def test_start_writes_the_stub_once(exercise: Exercise, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.start(exercise)
    assert workspace.file(exercise).read_text() == stub_of(exercise)
    workspace.file(exercise).write_text("mine")
    assert not workspace.start(exercise)
    assert workspace.file(exercise).read_text() == "mine"


def test_reset_keeps_a_copy_each_time(exercise: Exercise, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    copies = []
    for text in ("one", "two", "three"):
        workspace.start(exercise)
        workspace.file(exercise).write_text(text)
        copies.append(workspace.reset(exercise))
    assert [copy.read_text() for copy in copies] == ["one", "two", "three"]
    assert workspace.file(exercise).read_text() == stub_of(exercise)


def test_reset_without_a_file_names_the_command_that_writes_it(exercise: Exercise, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="practice start double"):
        Workspace(tmp_path).reset(exercise)


def test_saving_a_cell_backs_up_only_what_is_the_learners(exercise: Exercise, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.start(exercise)
    assert workspace.save(exercise, "mine") is None  # the stub is no loss
    assert workspace.save(exercise, "mine") is None
    backup = workspace.save(exercise, "other")
    assert backup is not None and backup.read_text() == "mine"
    assert workspace.file(exercise).read_text() == "other"


def test_the_record_counts_attempts_hints_and_passes(exercise: Exercise, tmp_path: Path) -> None:
    progress = Progress(Workspace(tmp_path))
    assert progress.standings() == {}
    for kind in (Kind.FAIL, Kind.INCONCLUSIVE, Kind.PASS, Kind.FAIL):
        progress.checked(Verdict("double", kind))
    progress.hint(exercise, 2)
    progress.hint(exercise, 1)
    progress.solution(exercise)
    progress.reset(exercise)
    assert progress.standings() == {
        "double": Standing(passed=True, attempts=3, hints=2, saw_solution=True, last="fail")
    }


def test_a_damaged_record_costs_only_the_damaged_lines(exercise: Exercise, tmp_path: Path) -> None:
    progress = Progress(Workspace(tmp_path))
    progress.checked(Verdict("double", Kind.PASS))
    with open(progress.path, "ab") as file:
        file.write(b'[1]\n\xff\xfe\n{"did": "hint", "exercise": "double", "level": "x"}\n{"did": "chec')
    progress.checked(Verdict("other", Kind.FAIL))
    standings = progress.standings()
    assert standings["double"].passed and standings["double"].hints == 0
    assert standings["other"].attempts == 1


@pytest.mark.parametrize(
    "damage",
    [
        b'{"did": "hint", "exercise": "double", "level": 1, "what": "\xf1"}\n',  # Latin-1
        b"[" * 100_000 + b"\n",
        b'{"did": "hint", "exercise": "double", "level": 3, "x": "' + b"x" * 10_000 + b'"}\n',
        b'{"did": "hint", "exercise": "double", "level": true, "a": ' + b"9" * 4000 + b"}\n",
        b'{"did": "hint", "exercise": [], "level": -9}\n{"did": [], "exercise": {}}\nnull\n\n\0\0',
        b"\xef\xbb\xbf\r\n",
    ],
    ids=["Latin-1", "deep", "a long line", "a long number", "other kinds", "BOM"],
)
def test_a_record_that_is_damaged_elsewhere(exercise: Exercise, tmp_path: Path, damage: bytes) -> None:
    progress = Progress(Workspace(tmp_path))
    progress.checked(Verdict("double", Kind.FAIL))
    with open(progress.path, "ab") as file:
        file.write(damage)
    progress.checked(Verdict("double", Kind.PASS))
    assert progress.standings()["double"] == Standing(passed=True, attempts=2, last="pass")


def test_what_cannot_be_noted_is_told_and_costs_no_verdict(exercise: Exercise, tmp_path: Path) -> None:
    progress = Progress(Workspace(tmp_path))
    (tmp_path / "work").touch()
    progress.checked(Verdict("double", Kind.PASS))
    assert "has to be a folder" in str(progress.problem)
    assert progress.standings() == {}
    (tmp_path / "work").unlink()
    with small_disk(tmp_path / "work", 16) as disk:
        progress.checked(Verdict("double", Kind.FAIL))
        assert progress.problem is None
        with open(progress.path, "ab") as file:  # up to the end of the block that it has
            file.write(b"\n" * (4096 - file.tell()))
        for trouble in (disk.fill, lambda: disk.remount("ro")):
            trouble()
            progress.checked(Verdict("double", Kind.PASS))
            assert isinstance(progress.problem, Refused)
        assert progress.standings()["double"] == Standing(attempts=1, last="fail")


def test_a_file_named_work_is_told(exercise: Exercise, tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    for action in (Workspace(tmp_path).start, lambda one: Workspace(tmp_path).save(one, "x")):
        with pytest.raises(InvalidInput, match="has to be a folder"):
            action(exercise)


def test_the_next_exercise_is_the_first_that_is_not_passed(exercise: Exercise, tmp_path: Path) -> None:
    practice = Practice(tmp_path, [exercise])
    assert practice.find(None) is exercise
    assert next_exercise([exercise], {"double": Standing(passed=True)}) is None
    practice.progress.checked(Verdict("double", Kind.PASS))
    with pytest.raises(NothingLeft):
        practice.find(None)


def test_hints_come_one_after_the_other_and_the_last_stays(exercise: Exercise, tmp_path: Path) -> None:
    practice = Practice(tmp_path, [exercise])
    assert [practice.hint(exercise) for _time in range(4)] == [
        (1, "one"),
        (2, "two"),
        (3, "three"),
        (3, "three"),
    ]
    assert practice.hint(exercise, 1) == (1, "one")
    assert practice.solution(exercise) == solution_of(exercise)
    assert practice.standings()["double"].saw_solution
