"""Keeps a copy of the broker's ``events.jsonl`` on the host while its container writes the original.

::

    FETCH ──────────────▶ FOLLOW ──(the broker's container ends)──▶ FETCH, and so on
    docker cp, also       docker exec tail -F: what is
    from a dead broker    appended, as it comes

* The copy has the same bytes in the same order, so its reader (``EventFile``) needs to know nothing of
  containers. A broker that was killed and started again continues the same file, and so does the copy.
* ``docker cp`` also reads a container that is down, so the last lines of a killed broker are copied.
* Subscribing to the numbered events on the broker's socket was the alternative. But a subscriber misses
  earlier events, and the events that a dying broker has written and not yet sent are only on the disk.

The copy has a thread of its own, and at most one ``docker exec`` process. ``close`` ends both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from labkit.cluster.compose.copied_out import NoSuchFile, copy_out
from labkit.cluster.compose.docker import Docker
from labkit.core.errors import N_, ClusterError, LabkitError
from labkit.support import temporary
from labkit.support.process_groups import KILL, birth, signal_group

EVENTS = "/cluster/events.jsonl"
"""In the broker's container."""
CHUNK = 1 << 20
FOLLOW = f'tail -c "+$1" -F {EVENTS} 2> /dev/null & cat > /dev/null; kill $!'
"""When this process ends, Docker does not end the command; the end of its standard input does."""
AGAIN_S = 0.2
"""Time between two attempts while the broker is down."""
FETCH_S = 60.0
POLITE_S = 2.0
GONE = "No such container"
"""Part of Docker's error for a container that has been removed."""

FOLDER = "labkit-compose-"
"""Prefix of the copies' folders in the system's temporary folder; the owner's process id follows."""


def new_folder() -> Path:
    """Return a new folder for a copy; removes the folders that killed programs left behind."""
    for path in temporary.left_behind(FOLDER):
        owner = re.fullmatch(r"([0-9]+)-\w+", path.name.removeprefix(FOLDER))
        if owner is not None and birth(int(owner[1])) is None:
            shutil.rmtree(path, ignore_errors=True)  # another user's folder stays
    place = temporary.needed_folder()
    try:
        return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=place))
    except OSError as error:
        raise _cannot_copy(place, error) from error


def _cannot_copy(path: Path, error: OSError) -> ClusterError:
    return ClusterError(
        N_("the broker's history cannot be copied to {path}: {reason}; TMPDIR chooses another folder"),
        path=str(path),
        reason=error.strerror or str(error),
    )


class HistoryCopy:
    """Copies the broker's history to ``path``; ``container`` is the broker's.

    When the object has been created, the copy is complete up to some 30 ms ago, and stays so. ``find``
    returns the broker's present container, or None: a broker that was made anew begins a history of its own,
    which continues the copy.
    """

    def __init__(
        self, docker: Docker, container: str, path: Path, find: Callable[[], str | None] | None = None
    ) -> None:
        self._docker = docker
        self._container = container
        self._find = find
        self._before = 0  # what was copied from former containers
        self._ends_a_line = True
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise _cannot_copy(path, error) from error
        self._copied = 0
        self._closing = threading.Event()
        self._tail: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # of _tail
        self._thread = threading.Thread(target=self._run, name="labkit-history-copy", daemon=True)
        try:
            self._fetch()
            self._thread.start()
        except OSError as error:
            self._file.close()
            raise _cannot_copy(path, error) from error
        except BaseException:
            self._file.close()
            raise

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
                if not self._closing.wait(AGAIN_S):
                    self._fetch()
            except (LabkitError, OSError) as error:
                if GONE in str(error) and self._find is None:
                    return  # its history is gone too; other errors (Docker restarts, a full disk) may pass
                if GONE in str(error) and self._goes_on_elsewhere():
                    continue
                self._closing.wait(AGAIN_S)

    def _goes_on_elsewhere(self) -> bool:
        """Continue with the container that replaces the former one; return whether there is one."""
        assert self._find is not None
        try:
            container = self._find()
        except LabkitError:
            return False  # Docker does not answer at the moment
        if container is None or container == self._container:
            return False
        if not self._ends_a_line:
            self._append(b"\n")  # a killed broker may leave half a line
        self._container, self._before = container, self._copied
        return True

    def _fetch(self) -> None:
        """Copy the part of the broker's file that the copy lacks."""
        try:
            archive = copy_out(self._docker, self._container, EVENTS, FETCH_S)
        except NoSuchFile:
            return  # the broker has not written anything yet
        with archive:
            member = archive.extractfile(archive.getmembers()[0])
            assert member is not None
            member.seek(self._copied - self._before)
            self._append(member.read())

    def _follow(self) -> None:
        """Copy new lines as they come, until the broker's container ends or ``close``."""
        with self._lock:
            if self._closing.is_set():
                return
            self._tail = subprocess.Popen(
                [
                    "docker",
                    "exec",
                    "-i",
                    self._container,
                    "sh",
                    "-c",
                    FOLLOW,
                    "sh",
                    str(self._copied - self._before + 1),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=self._docker.environ,
                start_new_session=True,
            )
        assert self._tail.stdout is not None
        with self._tail:
            while data := self._tail.stdout.read(CHUNK):
                self._append(data)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)  # less than all of it for gigabytes, or on a full disk
            self._copied += written
            rest = rest[written:]
        if data:
            self._ends_a_line = data.endswith(b"\n")

    def close(self) -> None:
        """Stop copying; the file stays."""
        with self._lock:
            self._closing.set()
            tail = self._tail
            if tail is not None and tail.stdin is not None:
                tail.stdin.close()
        self._thread.join(POLITE_S)
        if self._thread.is_alive() and tail is not None:
            signal_group(
                tail.pid, KILL
            )  # a process in a frozen container does not notice the end of its input
            self._thread.join()
        self._file.close()
