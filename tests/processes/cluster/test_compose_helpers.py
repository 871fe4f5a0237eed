"""The two helpers of the compose backend that need no Docker: the reaper and the history copy.

For the history copy, a script stands in for ``docker``: "the container" is a folder, and runs as long as the
file ``running`` exists in it.
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

from labkit.cluster.compose.copied_out import IncompleteCopy
from labkit.cluster.compose.docker import Docker
from labkit.cluster.compose.history_copy import HistoryCopy, new_folder
from labkit.cluster.compose.reaper import Reaper
from labkit.cluster.history_file import EventFile
from labkit.core.errors import ClusterError
from labkit.core.history import GAP, Event, encode_event
from tests.tools.command_line import ROOT
from tests.tools.waiting import require, wait_until

# --- the reaper ---


def test_the_reapers_command_runs_at_let_go_and_not_before(tmp_path: Path) -> None:
    done = tmp_path / "done"
    reaper = Reaper([sys.executable, "-c", f"open({str(done)!r}, 'w')"], os.environ)
    assert not done.exists()
    assert reaper.let_go(20.0) == ""
    assert done.exists()


def test_let_go_returns_the_commands_error_output(tmp_path: Path) -> None:
    reaper = Reaper([sys.executable, "-c", "import sys; sys.exit('no such network')"], os.environ)
    assert "no such network" in reaper.let_go(20.0)


def test_the_reaper_of_a_killed_program_still_runs_its_command(tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = [sys.executable, "-c", f"print('x' * 200_000); open({str(done)!r}, 'w')"]
    program = (
        "import os, time; from labkit.cluster.compose.reaper import Reaper; "
        f"g = Reaper({command!r}, os.environ); print('up', flush=True); time.sleep(600)"
    )
    opener = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert opener.stdout is not None and opener.stdout.readline() == "up\n"
    opener.kill()
    opener.communicate()
    wait_until(done.exists, 20.0, "the command to run, although its output has no reader")


# --- the history copy ---

DOCKER = """
[ -f "$BOX/docker-down" ] && { touch "$BOX/asked"; echo "Cannot connect to the Docker daemon" >&2; exit 1; }
[ -f "$BOX/gone" ] && case "$*" in *c0ffee*)
    touch "$BOX/asked"; echo "Error: No such container: c0ffee" >&2; exit 1 ;;
esac
case "$1" in
cp) [ -f "$BOX/events.jsonl" ] || { echo "Error: Could not find the file $2 in container" >&2; exit 1; }
    case "$(head -n 1 "$BOX/hiccups" 2> /dev/null)" in
    "") exec tar -C "$BOX" -cf - events.jsonl ;;
    zeros) head -c 1024 /dev/zero ;;
    half) tar -C "$BOX" -cf - events.jsonl | head -c 600 ;;
    esac # "nothing" prints nothing
    sed -i 1d "$BOX/hiccups" ;;
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


def test_the_copy_has_earlier_and_later_events(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started", "joined")
    history_copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
    try:
        copied = EventFile(tmp_path / "copy")
        assert [event.kind for event in copied.history().events] == ["broker_started", "joined"]
        write(box, "lost")
        wait_until(lambda: [event.kind for event in copied.history().events][2:] == ["lost"], 10.0)
    finally:
        history_copy.close()


def test_a_killed_brokers_last_events_and_its_next_life_are_copied(box: Path, tmp_path: Path) -> None:
    history_copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")  # nothing is there yet
    try:
        copied = EventFile(tmp_path / "copy")
        write(box, "broker_started")
        wait_until(lambda: len(copied.history().events) == 1, 10.0, "the first line")
        (box / "running").unlink()
        write(box, "fault")  # as if written just before it was killed
        wait_until(lambda: len(copied.history().events) == 2, 10.0, "the last line of a killed broker")
        (box / "running").touch()
        write(box, "broker_started", "joined")
        wait_until(lambda: len(copied.history().events) == 4, 10.0, "the next broker's lines")
        assert (tmp_path / "copy").read_bytes() == (box / "events.jsonl").read_bytes()
    finally:
        history_copy.close()


def test_closing_does_not_wait_for_a_frozen_container(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    history_copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
    write(box, "joined")
    copied = EventFile(tmp_path / "copy")
    wait_until(lambda: len(copied.history().events) == 2, 10.0, "the second line")
    (box / "frozen").touch()
    closing = threading.Thread(target=history_copy.close, daemon=True)
    closing.start()
    closing.join(20.0)
    closed = not closing.is_alive()
    (box / "frozen").unlink()
    assert closed, "a process in a frozen container does not notice the end of its input"


def test_a_pause_of_docker_loses_no_history(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    history_copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
    try:
        copied = EventFile(tmp_path / "copy")
        asked = box / "asked"
        (box / "docker-down").touch()
        (box / "running").unlink()  # its containers are down with it
        wait_until(asked.exists, 10.0, "a first attempt without Docker")
        asked.unlink()
        wait_until(asked.exists, 10.0, "a second attempt")
        (box / "running").touch()
        (box / "docker-down").unlink()
        write(box, "broker_started", "joined")
        wait_until(lambda: len(copied.history().events) == 3, 10.0, "the lines written since")
    finally:
        history_copy.close()


def test_the_copy_goes_on_with_a_broker_whose_container_was_made_anew(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started", "joined")
    present: list[str | None] = ["c0ffee"]
    copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy", lambda: present[0])
    try:
        (box / "events.jsonl").write_bytes(whole := (box / "events.jsonl").read_bytes() + b'{"half a')
        wait_until(lambda: (tmp_path / "copy").read_bytes() == whole, 10.0, "the broker's last, half line")
        (box / "gone").touch()
        (box / "running").unlink()
        wait_until((box / "asked").exists, 10.0, "an attempt without the container")
        (box / "events.jsonl").unlink()
        write(box, "broker_started", "lost")
        present[0] = "decaf"
        (box / "running").touch()
        kinds = ["broker_started", "joined", GAP, "broker_started", "lost"]
        copied = EventFile(tmp_path / "copy")
        wait_until(
            lambda: [event.kind for event in copied.history().events] == kinds, 10.0, "the new history"
        )
        write(box, "left")
        wait_until(lambda: copied.history().events[-1].kind == "left", 10.0, "its later lines")
    finally:
        copy.close()


class FullDisk:
    """A file on a disk that takes ``room`` more bytes, and then raises ENOSPC."""

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


def test_a_disk_that_was_full_for_a_while_loses_no_history(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    history_copy: Any = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
    disk = history_copy._file = FullDisk(history_copy._file, room=10)
    try:
        write(box, "joined", "lost")
        assert disk.refused.wait(10.0)
        disk.room = 1 << 20
        whole = (box / "events.jsonl").read_bytes()
        wait_until(lambda: (tmp_path / "copy").read_bytes() == whole, 10.0, "the lines after the full disk")
    finally:
        history_copy.close()


def test_copies_of_killed_programs_are_removed_by_the_next_one(
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


HICCUPS = ("zeros", "nothing", "half")
"""What ``docker cp`` printed, with exit code 0, of a container that ended meanwhile."""


@pytest.mark.parametrize("hiccup", HICCUPS)
def test_half_an_archive_is_asked_for_again(box: Path, tmp_path: Path, hiccup: str) -> None:
    write(box, *["broker_started"] * 20)
    (box / "hiccups").write_text(f"{hiccup}\n" * 2, encoding="ascii")
    HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy").close()
    assert (tmp_path / "copy").read_bytes() == (box / "events.jsonl").read_bytes()
    assert (box / "hiccups").read_bytes() == b"", "both were met"


@pytest.mark.parametrize("hiccup", HICCUPS)
def test_nothing_but_half_archives_is_an_error_with_the_next_step(
    box: Path, tmp_path: Path, hiccup: str
) -> None:
    write(box, *["broker_started"] * 20)
    (box / "hiccups").write_text(f"{hiccup}\n" * 100, encoding="ascii")
    with pytest.raises(IncompleteCopy, match=r"c0ffee:/cluster/events\.jsonl.*docker ps -a shows why"):
        HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")


def test_the_copy_outlives_half_archives_of_a_dying_broker(box: Path, tmp_path: Path) -> None:
    write(box, "broker_started")
    history_copy = HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
    try:
        (box / "hiccups").write_text("zeros\nhalf\n" * 10, encoding="ascii")
        (box / "running").unlink()
        write(box, "fault")
        copied = EventFile(tmp_path / "copy")
        wait_until(lambda: len(copied.history().events) == 2, 20.0, "the last line of the dying broker")
    finally:
        history_copy.close()


def test_a_missing_container_is_an_error_at_once(box: Path, tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.write_text("#!/bin/sh\necho 'Error: No such container: c0ffee' >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(ClusterError, match="No such container"):
        HistoryCopy(Docker("p", os.environ), "c0ffee", tmp_path / "copy")
