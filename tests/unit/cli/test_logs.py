"""``logs`` reads the files of a cluster that is running, is down, or is rewriting them."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cli import logs
from labkit.cli.logs import _View
from labkit.cluster.run_folder import RunFolder
from tests.tools.command_line import Commands


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    return Commands(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = RunFolder.of(tmp_path, "default").log_file("x").parent
    path.mkdir(parents=True)
    (path / "worker-10.log").write_text("ten\n")
    (path / "worker-2.log").write_text("one\ntwo\nlast words")
    (path / "broker.log").write_text("serving\n")
    return path


def test_logs_of_a_stopped_cluster_are_shown_workers_first(lab: Commands, folder: Path) -> None:
    said = lab("logs")
    assert said.code == 0 and "not running" in said.err
    assert said.out.splitlines() == [
        "worker-2  | one",
        "worker-2  | two",
        "worker-2  | last words",
        "worker-10 | ten",
        "broker    | serving",
    ]


def test_single_log_is_shown_unchanged(lab: Commands, folder: Path) -> None:
    assert lab("logs", "worker-2", "--lines", "1").out == "two\nlast words\n"


def test_a_process_without_a_log_is_named(lab: Commands, folder: Path) -> None:
    line = lab.refused("logs", "worker-7", code=2)
    assert "'worker-7'" in line and "worker-2, worker-10, broker" in line


def test_control_characters_in_a_log_are_shown(lab: Commands, folder: Path) -> None:
    (folder / "worker-2.log").write_bytes("\x1b[2Jgone ñ\ttab\n".encode())
    said = lab("logs", "worker-2")
    assert "\\x1b[2Jgone ñ\ttab" in said.out and "\x1b" not in said.out


def test_following_a_stopped_cluster_ends(lab: Commands, folder: Path) -> None:
    assert lab("logs", "broker", "--follow").out == "serving\n"


def test_log_view_returns_each_whole_line_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    view = _View(log)
    assert view.new() == []
    log.write_bytes(b"a\nb\nc")
    assert view.new() == ["a", "b"]
    assert view.unfinished() == ["c"]
    log.write_bytes(b"a\nb\nc and d\r\n\xff\n")
    assert view.new() == ["c and d", "\ufffd"]


def test_truncated_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a long first life\n")
    view = _View(log)
    assert view.last(5) == ["a long first life"]
    log.write_text("anew\n")
    assert view.new() == ["anew"]


def test_last_lines_of_a_large_log_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "CHUNK", 7)
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert _View(log).last(2) == ["line 98", "line 99"]
