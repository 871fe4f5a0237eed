"""A disk that takes no more, for real: a small tmpfs that is full or read-only, and a limit on file sizes.

What a cluster can do without (its history, logs, ``broker.json``) stops nothing. What it needs is refused in
one line that names the cause.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import jobs
from labkit.cluster.compose import agent
from labkit.cluster.history_file import EventFile
from labkit.cluster.run_folder import RunFolder
from labkit.core.history import GAP
from tests.tools.command_line import ROOT
from tests.tools.rig import Rig
from tests.tools.small_disk import SmallDisk, small_disk
from tests.tools.waiting import require, wait_until

PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 128) as disk:
        yield disk


def said(*words: str, home: Path, limit: int | None = None, out: Any = subprocess.PIPE) -> tuple[int, str]:
    """Run a command with this LABKIT_HOME; return its exit code and what it printed to stderr."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "labkit", *words],
        cwd=ROOT,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        preexec_fn=None if limit is None else limited_to(limit),
        env={**os.environ, "LABKIT_HOME": str(home)},
    )
    return ran.returncode, ran.stderr


def limited_to(size: int) -> Callable[[], None]:
    """Return a function that limits this process's files to ``size`` bytes (EFBIG)."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# --- the history ---


def test_a_broker_starts_on_a_full_disk_although_the_history_ends_in_half_a_line(
    tmp_path: Path, disk: SmallDisk
) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        client = rig.client()
        assert client.submit(jobs.echo, 1).result(10) == 1
        rig.kill(rig.broker)
        file = disk.path / "events.jsonl"
        half = b'{"at":1.0,"event":"' + b"x" * PAGE
        file.write_bytes(half[:PAGE])  # a whole page: not one byte more fits on a full disk
        disk.fill()
        (rig.folder / "events.jsonl").unlink()
        (rig.folder / "events.jsonl").symlink_to(file)
        rig.start_broker()
        assert client.submit(jobs.echo, 2).result(10) == 2
        wait_until(lambda: "No space left" in rig.log("broker"), what="the refusal")
        assert file.stat().st_size == PAGE
        disk.make_room()
        assert client.submit(jobs.echo, 3).result(10) == 3
        wait_until(lambda: b"done" in file.read_bytes(), what="the third task in the history")
        kinds = [event.kind for event in EventFile(file).read()]
        assert kinds[:2] == [GAP, GAP], "half a line, and what the disk refused"
        assert rig.log("broker").count("No space left") == 1, "said once"


def test_a_broker_without_a_history_file_serves_and_begins_it_when_it_can(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig", workers=1) as rig:
        rig.kill(rig.broker)
        file = rig.folder / "events.jsonl"
        file.unlink()
        file.mkdir()  # in its way, as a read-only disk would be
        rig.start_broker()
        client = rig.client()
        assert client.submit(jobs.echo, 1).result(10) == 1
        wait_until(lambda: "the history is not recorded" in rig.log("broker"), what="the complaint")
        file.rmdir()
        assert client.submit(jobs.echo, 2).result(10) == 2
        wait_until(lambda: file.is_file() and "done" in file.read_text(), what="the history")
        first = EventFile(file).read()[0]
        assert first.kind == GAP and first.detail["missing"] > 0


# --- what a worker prints ---


def test_a_task_that_prints_into_a_full_log_does_not_fail(tmp_path: Path) -> None:
    require(Path("/dev/full").exists(), "/dev/full")
    with Rig(tmp_path / "rig") as rig:
        (rig.folder / "work" / "loud.py").write_text(LOUD)
        (rig.folder / "worker-1.log").symlink_to("/dev/full")
        rig.start_worker("worker-1")
        assert rig.client().submit("work.loud:loud", 100_000).result(20) == 100_000


LOUD = """
import sys

def loud(n):
    print("x" * n, flush=True)
    print("y" * n, file=sys.stderr)
    return n
"""


def test_a_worker_serves_although_its_health_file_cannot_be_touched(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        rig.start_worker("worker-1", LABKIT_FOLDER="/dev/null/no-folder")
        client = rig.client()
        assert client.submit(jobs.echo, 1).result(20) == 1
        wait_until(lambda: "cannot be touched" in rig.log("worker-1"), what="the complaint")
        assert client.submit(jobs.echo, 2).result(20) == 2
        assert rig.log("worker-1").count("cannot be touched") == 1, "said once"


def test_an_agent_serves_without_a_control_socket_and_without_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert agent._listen_if_possible(tmp_path / "file" / "worker-1.sock") is None
    agent._begin_history_if_possible(RunFolder(tmp_path / "file"))
    assert "cannot inject faults" in caplog.text and "no new history begins" in caplog.text


# --- what is needed: one line ---


@pytest.mark.parametrize("words", [("up",), ("keys", "make"), ("lab", "--no-browser")], ids=" ".join)
def test_a_full_disk_is_one_line_with_the_folder(disk: SmallDisk, words: tuple[str, ...]) -> None:
    disk.fill()
    code, err = said(*words, home=disk.path)
    assert code == 1 and err.count("\n") == 1 and "bug" not in err, err
    assert "space" in err and str(disk.path) in err


@pytest.mark.parametrize("words", [("up",), ("keys", "make"), ("lab", "--no-browser")], ids=" ".join)
def test_a_read_only_disk_is_one_line_with_the_folder(disk: SmallDisk, words: tuple[str, ...]) -> None:
    disk.remount("ro")
    code, err = said(*words, home=disk.path)
    disk.remount("rw")
    assert code == 1 and err.count("\n") == 1 and "bug" not in err, err
    assert "read-only" in err.lower() and str(disk.path) in err and ".part" not in err


def test_a_limit_on_file_sizes_is_named(tmp_path: Path) -> None:
    code, err = said("keys", "make", home=tmp_path, limit=0)
    assert code == 1 and err.count("\n") == 1 and "ulimit -f" in err and "bug" not in err, err
    with (tmp_path / "out").open("w") as out:
        code, err = said("simulate", "--json", home=tmp_path, limit=100, out=out)
    assert code == 1 and err.count("\n") == 1 and "ulimit -f" in err and "bug" not in err, err


def test_results_on_a_read_only_disk_name_it(disk: SmallDisk) -> None:
    disk.remount("ro")
    words = ("submit", "--engine", "sequential", "--filters", "blur", "--out", str(disk.path / "out"))
    code, err = said(*words, home=disk.path)
    disk.remount("rw")
    assert code == 2 and "Read-only" in err and err.count("\n") == 1
