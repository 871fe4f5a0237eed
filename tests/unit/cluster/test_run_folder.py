"""The run folder: its owner, what a crash leaves in it, and what is kept."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from labkit.cluster import run_folder
from labkit.cluster.history_file import EventFile
from labkit.cluster.run_folder import RunFolder, State
from labkit.core.errors import ClusterError, InvalidInput
from labkit.core.history import GAP
from labkit.support import file_lock, process_groups
from tests.tools.waiting import wait_until

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.of(tmp_path, "default")


def state(processes: dict[str, tuple[int, str]], **more: Any) -> State:
    """Return a state that has, of all that a cluster writes, only what a test needs."""
    return cast(State, {"processes": processes, **more})


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, process_group=0)


def mark(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    return process.pid, process_groups.birth(process.pid) or ""


@pytest.mark.parametrize("name", ["../elsewhere", "", "a/b", ".hidden", "x" * 65, "two words", "a\n"])
def test_name_that_cannot_name_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a cluster's name"):
        RunFolder.of(tmp_path, name)


def test_only_the_owner_can_read_the_folder(folder: RunFolder) -> None:
    folder.take()
    folder.write_token("secret")
    folder.write_state(state({}))
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.token_file.stat().st_mode) == 0o600
    assert folder.read_token() == "secret"
    folder.leave(keep=True)


def test_file_is_replaced_as_a_whole_and_leaves_no_parts(folder: RunFolder) -> None:
    folder.take()
    for number in range(3):
        folder.write_state(state({}, name=str(number)))
    written = folder.read_state()
    assert written is not None and written["name"] == "2"
    assert {path.name for path in folder.path.iterdir()} == {"cluster.json", "lock", "logs"}
    folder.leave(keep=True)


def test_half_written_file_does_not_stop_the_next_writer(folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    (folder.path / "cluster.json.part").write_text('{"vers')
    folder.write_state(state({}))
    assert folder.read_state() is not None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"version": 99}', "[" * 100_000])
def test_state_of_unknown_format_counts_as_none(folder: RunFolder, text: str) -> None:
    folder.path.mkdir(parents=True)
    folder.state_file.write_text(text)
    assert folder.read_state() is None
    assert folder.running() is None


def test_a_cluster_runs_as_long_as_its_supervisor_lives(folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    with sleeper() as supervisor:
        pid, born = mark(supervisor)
        folder.write_state(state({"supervisor": (pid, born)}))
        assert folder.running() is not None
        folder.write_state(state({"supervisor": (pid, "an earlier process of this number")}))
        assert folder.running() is None
        folder.write_state(state({"supervisor": (pid, born)}))
        supervisor.kill()
        # Dead, and not yet collected by its parent.
        wait_until(lambda: folder.running() is None, what="the dead supervisor to be noticed")


def test_two_supervisors_cannot_hold_one_folder(folder: RunFolder) -> None:
    folder.take()
    with pytest.raises(ClusterError, match="a cluster runs in .* already"):
        RunFolder(folder.path).take()
    folder.leave(keep=True)
    other = RunFolder(folder.path)
    other.take()
    other.leave(keep=True)


def test_a_lock_does_not_outlive_its_process(folder: RunFolder) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from labkit.cluster.run_folder import RunFolder\n"
        "RunFolder(Path(sys.argv[1])).take(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder.path)], check=False)
    assert folder.lock_file.exists()
    folder.take()
    folder.leave(keep=True)


def test_a_process_is_gone_only_when_its_lock_is_free(folder: RunFolder) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from labkit.cluster.run_folder import RunFolder\n"
        "threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(20)]\n"
        "for thread in threads: thread.start()\n"
        "RunFolder(Path(sys.argv[1])).take(); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    for _attempt in range(5):  # its threads end one after the other, each time a little differently
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None and owner.stdout.readline() == b"locked\n"
            number, born = mark(owner)
            owner.kill()
            wait_until(lambda: not process_groups.is_alive(number, born), what="its end")  # noqa: B023
            folder.take()
            folder.leave(keep=True)


def test_removed_lock_file_does_not_count_as_the_lock(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.path.mkdir(parents=True)
    lock_it = file_lock.take
    removed = False

    def remove_first(descriptor: int) -> None:
        nonlocal removed
        if not removed:
            folder.lock_file.unlink()  # the owner was quicker than we
            removed = True
        lock_it(descriptor)

    monkeypatch.setattr(file_lock, "take", remove_first)
    folder.take()
    assert folder.lock_file.exists()
    folder.leave(keep=True)


def test_leftovers_of_a_crashed_cluster_are_ended_and_removed(folder: RunFolder) -> None:
    folder.take()
    with sleeper() as worker, sleeper() as stranger:
        folder.write_token("secret")
        folder.broker_file.write_text("{}")
        (folder.path / "cluster.json.part").write_text("{")
        folder.write_state(
            state(
                {
                    "worker-1": mark(worker),
                    "worker-2": (stranger.pid, "the birth of another"),
                    "supervisor": (2**22 + 1, "long gone"),
                }
            )
        )
        assert folder._lock is not None
        os.close(folder._lock)  # the crash
        assert RunFolder(folder.path).take() == ["worker-1"]
        assert worker.wait(5) != 0
        assert stranger.poll() is None, "it was given the number of a dead worker: not ours to end"
        assert {path.name for path in folder.path.iterdir()} == {"lock", "logs"}
        stranger.kill()


def test_children_of_a_leftover_process_end_with_it(folder: RunFolder) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, process_group=0)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    born = process_groups.birth(grandchild)
    assert born is not None
    process_groups.end(parent.pid, "the birth of another")
    assert parent.poll() is None
    assert process_groups.end(*mark(parent))
    assert process_groups.wait_until_gone(grandchild, born, timeout_s=5)
    parent.communicate()


def test_process_differs_from_another_with_its_pid() -> None:
    mine = process_groups.birth(os.getpid())
    assert mine is not None
    assert process_groups.is_alive(os.getpid(), mine)
    assert not process_groups.is_alive(os.getpid(), mine + "0")
    assert process_groups.birth(2**22 + 1) is None


def test_without_proc_psutil_gives_the_same_birth() -> None:
    mine = process_groups._birth_by_psutil(os.getpid())
    assert mine == process_groups._birth_by_psutil(os.getpid()) is not None
    assert process_groups._birth_by_psutil(2**22 + 1) is None
    with sleeper() as child:
        child.kill()
        wait_until(
            lambda: process_groups._birth_by_psutil(child.pid) is None, what="the zombie to count as gone"
        )


def test_the_histories_of_earlier_runs_are_kept_in_order_and_bounded(folder: RunFolder) -> None:
    for run in range(6):
        folder.take()
        folder.events_file.write_text(f"run {run}\n")
        folder.leave(keep=True)
    kept = {path.name: path.read_text() for path in folder.path.glob("events*")}
    assert kept == {
        "events.jsonl": "run 5\n",
        "events-1.jsonl": "run 4\n",
        "events-2.jsonl": "run 3\n",
        "events-3.jsonl": "run 2\n",
    }


def test_large_old_histories_go_but_never_the_last_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "KEPT_HISTORY_BYTES", 10)
    for _run in range(3):
        folder.take()
        folder.events_file.write_text("x" * 100)
        folder.leave(keep=True)
    folder.take()
    assert [path.name for path in folder.path.glob("events*")] == ["events-1.jsonl"]
    folder.leave(keep=True)


def test_a_private_folder_vanishes(folder: RunFolder) -> None:
    folder.take()
    folder.write_token("secret")
    (folder.path / "logs" / "worker-1.log").write_text("hello")
    folder.leave(keep=False)
    assert not folder.path.exists()
    assert folder.sweep(keep=False) == []  # nothing there: nothing to do


def test_a_log_is_continued_and_put_aside_when_it_is_too_long(folder: RunFolder) -> None:
    folder.take()
    for _start in range(2):
        log = folder.open_log("worker-1", max_bytes=20)
        os.write(log, b"0123456789\n")
        os.close(log)
    assert folder.log_file("worker-1").read_text() == "0123456789\n" * 2
    os.close(folder.open_log("worker-1", max_bytes=20))
    assert folder.log_file("worker-1").read_text() == ""
    assert (folder.path / "logs" / "worker-1.log.1").read_text() == "0123456789\n" * 2
    folder.leave(keep=True)


def test_events_are_read_as_they_come_and_a_torn_line_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventFile(path)
    assert events.read() == []
    path.write_text('{"at":1.0,"event":"broker_started"}\n{"at":2.0,"ev')
    assert [event.kind for event in events.read()] == ["broker_started"]
    assert events.read() == []
    with path.open("a") as file:
        file.write('{"at":3.0,"event":"broker_started"}\n{"at":4.0,"event":"broker_stopped"}\n')
    assert [(event.kind, event.at) for event in events.read()] == [(GAP, 1.0), ("broker_stopped", 4.0)]


@pytest.mark.parametrize("piece_bytes", [1, 40, 1 << 20])
def test_a_long_history_is_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr("labkit.cluster.history_file.PIECE_BYTES", piece_bytes)
    path = tmp_path / "events.jsonl"
    events = EventFile(path)
    lines = [f'{{"at":{number}.0,"event":"done"}}\n' for number in range(100)]
    path.write_text("".join(lines) + '{"at":100.0,')
    assert [event.at for event in events.stream()] == list(range(100))
    assert list(events.stream()) == []
    with path.open("a") as file:
        file.write('"event":"lost"}\n\n' + lines[0])
    assert [(event.at, event.kind) for event in events.stream()] == [(100.0, "lost"), (0.0, "done")]


def test_reader_can_skip_to_the_end_of_the_history(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventFile(path)
    events.skip()
    path.write_text('{"at":1.0,"event":"broker_started"}\n')
    assert [event.at for event in events.read()] == [1.0], "the file was not there yet"
    events = EventFile(path)
    events.skip()
    assert events.read() == []
    with path.open("a") as file:
        file.write('{"at":2.0,"event":"broker_stopped"}\n')
    assert [event.at for event in events.read()] == [2.0]


def test_the_state_names_its_version(folder: RunFolder) -> None:
    folder.path.mkdir(parents=True)
    folder.write_state(state({}))
    assert json.loads(folder.state_file.read_text())["version"] == run_folder.VERSION
