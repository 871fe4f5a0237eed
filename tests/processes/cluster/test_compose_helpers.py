"""The two helpers of the compose backend that can be tried without Docker: the guardian and the follower.

For the follower a script plays ``docker``: "the container" is a folder, and runs as long as a file in it says
so.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from labkit.cluster.compose.docker import Engine
from labkit.cluster.compose.history_copy import Follower, new_folder
from labkit.cluster.compose.reaper import Guardian
from labkit.cluster.history_file import EventFile
from labkit.core.errors import ClusterError
from labkit.core.history import Event, encode_event
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until

# --- the guardian ---


def test_the_guardians_command_runs_when_it_is_let_go_and_not_before(tmp_path: Path) -> None:
    done = tmp_path / "done"
    guardian = Guardian([sys.executable, "-c", f"open({str(done)!r}, 'w')"], os.environ)
    assert not done.exists()
    assert guardian.let_go(20.0) == ""
    assert done.exists()


def test_what_the_command_complains_of_is_told(tmp_path: Path) -> None:
    guardian = Guardian([sys.executable, "-c", "import sys; sys.exit('no such network')"], os.environ)
    assert "no such network" in guardian.let_go(20.0)


def test_the_guardian_outlives_a_program_that_is_killed_and_does_its_work(tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = [sys.executable, "-c", f"print('x' * 200_000); open({str(done)!r}, 'w')"]
    program = (
        "import os, time; from labkit.cluster.compose.reaper import Guardian; "
        f"g = Guardian({command!r}, os.environ); print('up', flush=True); time.sleep(600)"
    )
    opener = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert opener.stdout is not None and opener.stdout.readline() == "up\n"
    opener.kill()
    opener.communicate()
    wait_until(done.exists, 20.0, "the command to run, although nobody reads what it prints")


# --- the follower ---

DOCKER = """
[ -f "$BOX/engine-down" ] && { touch "$BOX/asked"; echo "Cannot connect to the Docker daemon" >&2; exit 1; }
case "$1" in
cp) [ -f "$BOX/events.jsonl" ] || { echo "Error: Could not find the file $2 in container" >&2; exit 1; }
    exec tar -C "$BOX" -cf - events.jsonl ;;
exec)
    [ -f "$BOX/running" ] || { echo "container is not running" >&2; exit 1; }
    tail -c "+$8" -F "$BOX/events.jsonl" 2> /dev/null & tail=$!
    cat > /dev/null & cat=$!
    while [ -f "$BOX/running" ] && kill -0 $cat 2> /dev/null || [ -f "$BOX/frozen" ]; do sleep 0.02; done
    kill $tail ;;
esac
"""


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The broker's "container": it runs, and has written nothing yet."""
    require(sys.platform != "win32", "a shell")
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(f"#!/bin/sh\n{DOCKER}", encoding="utf-8")
    docker.chmod(docker.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "running").touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("BOX", str(folder))
    return folder


def write(box: Path, *kinds: str) -> None:
    with (box / "events.jsonl").open("a", encoding="ascii") as file:
        file.writelines(encode_event(Event(float(i), kind)) + "\n" for i, kind in enumerate(kinds))


def test_the_copy_has_what_was_written_before_and_what_is_written_after(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started", "joined")
    follower = Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")
    try:
        copy = EventFile(tmp_path / "copy")
        assert [event.kind for event in copy.history().events] == ["broker_started", "joined"]
        write(box, "lost")
        wait_until(lambda: [event.kind for event in copy.history().events][2:] == ["lost"], 10.0)
    finally:
        follower.close()


def test_what_a_killed_broker_wrote_last_is_copied_and_its_next_life_too(box: Path, tmp_path: Path) -> None:
    follower = Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")  # nothing is there yet
    try:
        copy = EventFile(tmp_path / "copy")
        write(box, "broker_started")
        wait_until(lambda: len(copy.history().events) == 1, 10.0, "the first line")
        (box / "running").unlink()
        write(box, "fault")  # as if it had been written in the very moment of death
        wait_until(lambda: len(copy.history().events) == 2, 10.0, "the last words of a dead broker")
        (box / "running").touch()
        write(box, "broker_started", "joined")
        wait_until(lambda: len(copy.history().events) == 4, 10.0, "the next broker's words")
        assert (tmp_path / "copy").read_bytes() == (box / "events.jsonl").read_bytes()
    finally:
        follower.close()


def test_a_frozen_container_does_not_keep_anybody_from_closing(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    follower = Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")
    write(box, "joined")
    copy = EventFile(tmp_path / "copy")
    wait_until(lambda: len(copy.history().events) == 2, 10.0, "the second line")
    (box / "frozen").touch()
    closing = threading.Thread(target=follower.close, daemon=True)
    closing.start()
    closing.join(20.0)
    closed = not closing.is_alive()
    (box / "frozen").unlink()
    assert closed, "what runs in a frozen container does not see the end of its input"


def test_an_engine_that_is_away_for_a_while_costs_no_history(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    follower = Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")
    try:
        copy = EventFile(tmp_path / "copy")
        asked = box / "asked"
        (box / "engine-down").touch()
        (box / "running").unlink()  # its containers are down with it
        wait_until(asked.exists, 10.0, "the follower to look at an engine that is not there")
        asked.unlink()
        wait_until(asked.exists, 10.0, "the follower to look again")
        (box / "running").touch()
        (box / "engine-down").unlink()
        write(box, "broker_started", "joined")
        wait_until(lambda: len(copy.history().events) == 3, 10.0, "what happened since")
    finally:
        follower.close()


class FullDisk:
    """A file on a disk that takes ``room`` bytes more, and then says that it is full."""

    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self.room = room
        self.refused = threading.Event()

    def write(self, data: bytes) -> int:
        taken = bytes(data[: self.room])
        if not taken:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        return int(self._file.write(taken))

    def close(self) -> None:
        self._file.close()


def test_a_disk_that_was_full_for_a_while_costs_no_history(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    follower: Any = Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")
    disk = follower._file = FullDisk(follower._file, room=10)
    try:
        write(box, "joined", "lost")
        assert disk.refused.wait(10.0)
        disk.room = 1 << 20
        whole = (box / "events.jsonl").read_bytes()
        wait_until(lambda: (tmp_path / "copy").read_bytes() == whole, 10.0, "what the disk had no room for")
    finally:
        follower.close()


def test_the_copies_of_programs_that_were_killed_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left = tmp_path / f"labkit-compose-{killed.pid}-abc_12"
    names = ("labkit-compose-notes", f"labkit-compose-{killed.pid}", f"other-{killed.pid}-a")
    others = [tmp_path / name for name in names]
    mine = new_folder()
    for folder in (left, *others):
        folder.mkdir()
        (folder / "events.jsonl").touch()
    second = new_folder()
    assert not left.exists()
    assert all(folder.exists() for folder in (*others, mine, second)) and mine != second


def test_a_container_that_is_not_there_is_an_error_at_once(box: Path, tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.write_text("#!/bin/sh\necho 'Error: No such container: c0ffee' >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(ClusterError, match="No such container"):
        Follower(Engine("p", os.environ), "c0ffee", tmp_path / "copy")
