"""Keeps a copy of the broker's ``events.jsonl`` on the host while its container writes the original.

::

    FETCH ──────────────▶ FOLLOW ──(the broker's container ends)──▶ FETCH, and so on
    docker cp, also       docker exec tail -F: what is
    from a dead broker    appended, as it comes

* The copy has the same bytes in the same order, so whoever reads it (``EventFile``) needs to know nothing of
  containers, and a broker that was killed and started goes on in the same file as it does in its own.
* ``docker cp`` reads a container that is down too: what a broker wrote last, before it was killed, is there.
* The numbered events on the broker's socket would be a second way. But a subscriber hears nothing of what
  was before, and what a dying broker has written and not yet sent is on the disk alone.

A follower has a thread of its own, and at most one ``docker exec`` beside it. Nothing of it outlives
``close``.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path

from labkit.cluster.compose.docker import Engine, explain
from labkit.core.errors import LabkitError
from labkit.support.process_groups import KILL, birth, signal_group

EVENTS = "/cluster/events.jsonl"
"""In the broker's container."""
CHUNK = 1 << 20
FOLLOW = f'tail -c "+$1" -F {EVENTS} 2> /dev/null & cat > /dev/null; kill $!'
"""Docker does not end what it executes when we go; the end of the standard input does."""
AGAIN_S = 0.2
"""Between two looks at a broker that is down."""
FETCH_S = 60.0
POLITE_S = 2.0
GONE = "No such container"
"""In Docker's complaint about a container that has been removed."""

FOLDER = "labkit-compose-"
"""How the folders of copies begin, in the system's folder for temporary files; the owner's number follows."""


def new_folder() -> Path:
    """Return a new folder for a copy. Those of programs that were killed with theirs are removed."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = re.fullmatch(r"([0-9]+)-\w+", path.name.removeprefix(FOLDER))
        if owner is not None and birth(int(owner[1])) is None:
            shutil.rmtree(path, ignore_errors=True)  # another user's stays
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))


class Follower:
    """Copies the broker's history to ``path``; ``container`` is the broker's. The copy is whole, up to some
    30 ms ago, when the object has been made; from then on it is kept so."""

    def __init__(self, engine: Engine, container: str, path: Path) -> None:
        self._engine = engine
        self._container = container
        self._file = path.open("wb", buffering=0)
        self._copied = 0
        self._closing = threading.Event()
        self._tail: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # of _tail
        try:
            self._fetch()
        except BaseException:
            self._file.close()
            raise
        self._thread = threading.Thread(target=self._run, name="labkit-follower", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
                if not self._closing.wait(AGAIN_S):
                    self._fetch()
            except (LabkitError, OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
                if GONE in str(error):
                    return  # and its history with it; anything else (Docker restarts, a full disk) passes
                self._closing.wait(AGAIN_S)

    def _fetch(self) -> None:
        """Copy what is in the broker's file beyond what we have."""
        ran = subprocess.run(
            ["docker", "cp", f"{self._container}:{EVENTS}", "-"], capture_output=True,
            stdin=subprocess.DEVNULL, env=self._engine.environ, timeout=FETCH_S,
        )  # fmt: skip
        if ran.returncode != 0:
            complaint = ran.stderr.decode("utf-8", "replace")
            if "could not find the file" in complaint.lower() or "no such file" in complaint.lower():
                return  # a broker that has not written anything yet
            raise explain("docker cp", complaint)
        with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as tar:
            member = tar.extractfile(tar.getmembers()[0])
            assert member is not None
            member.seek(self._copied)
            self._append(member.read())

    def _follow(self) -> None:
        """Copy what is appended, until the broker's container ends or we do."""
        with self._lock:
            if self._closing.is_set():
                return
            self._tail = subprocess.Popen(
                ["docker", "exec", "-i", self._container, "sh", "-c", FOLLOW, "sh", str(self._copied + 1)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                env=self._engine.environ, start_new_session=True,
            )  # fmt: skip
        assert self._tail.stdout is not None
        with self._tail:
            while data := self._tail.stdout.read(CHUNK):
                self._append(data)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)  # of gigabytes, or on a full disk, not all
            self._copied += written
            rest = rest[written:]

    def close(self) -> None:
        """Copy no more; the file stays."""
        with self._lock:
            self._closing.set()
            tail = self._tail
            if tail is not None and tail.stdin is not None:
                tail.stdin.close()
        self._thread.join(POLITE_S)
        if self._thread.is_alive() and tail is not None:
            signal_group(tail.pid, KILL)  # nothing in a frozen container sees the end of its input
            self._thread.join()
        self._file.close()
