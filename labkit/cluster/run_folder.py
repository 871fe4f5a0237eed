"""The folder of one cluster: how its processes and its users find each other, and what it leaves behind.

::

    ~/.labkit/clusters/default/     (LABKIT_HOME moves ~/.labkit)
        cluster.json                the supervisor, the ports, every process; while the cluster runs
        token                       the cluster's secret, readable by its owner alone; while it runs
        broker.json                 written by the broker when it serves; while it runs
        lock                        held by the supervisor as long as it lives
        compose.json                the compose project whose containers are this cluster; no supervisor
        events.jsonl                the history, kept after the cluster has gone down
        events-1.jsonl ...          the histories of earlier runs, newest first, a limited number of them
        logs/worker-1.log ...       what each process printed

Rules:

* One supervisor per folder. It holds an operating system's lock on ``lock``. The lock ends with its process,
  so there is no stale lock.
* The holder of the lock owns the folder. A ``cluster.json`` that it finds there belongs to a crashed cluster:
  the processes named in it (by pid and birth) are ended, files of the moment are removed, the history stays.
* Files that others read are written beside and renamed into place: no reader sees half a file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from labkit.core.errors import N_, ClusterError, InvalidInput
from labkit.core.names import is_name
from labkit.support import file_lock, process_groups
from labkit.support.atomic_files import atomic_write

VERSION = 1
"""The version of ``cluster.json``; files of other versions are ignored."""
KEPT_HISTORIES = 3
KEPT_HISTORY_BYTES = 256 << 20
"""Earlier histories beyond the newest are dropped when all of them together are larger than this."""


class About(TypedDict):
    """What a cluster's users know of it from its start on."""

    name: str
    backend: str
    ports: dict[str, int]
    address: str
    event_address: str
    redis_url: str | None
    keys: str | None
    """The folder of CURVE keys; None: the cluster's secret opens the broker."""
    policy: str
    started: float
    """Seconds since 1970."""
    private: bool
    drain_s: float
    api_host: NotRequired[str]
    """Where the HTTP side listens; only a cluster of an earlier version does not say."""


class State(About):
    """What ``cluster.json`` contains while a cluster runs; ``labkit.cluster.supervisor`` writes it."""

    control_port: int
    processes: dict[str, tuple[int, str]]
    """By name: pid and birth. JSON makes lists of them."""


class RunFolder:
    """The folder at ``path``. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def of(cls, home: Path, name: str) -> RunFolder:
        """Return the folder of the cluster called ``name``. Raises InvalidInput for what cannot be a name."""
        if not is_name(name):
            raise InvalidInput(
                N_("{name!r} cannot be a cluster's name: letters, digits, - _ . and at most 64 of them"),
                name=name,
            )
        return cls(home / "clusters" / name)

    @property
    def state_file(self) -> Path:
        return self.path / "cluster.json"

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def broker_file(self) -> Path:
        return self.path / "broker.json"

    @property
    def compose_file(self) -> Path:
        return self.path / "compose.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def events_file(self) -> Path:
        return self.path / "events.jsonl"

    def log_file(self, name: str) -> Path:
        """Return the log of the process called ``name``."""
        return self.path / "logs" / f"{name}.log"

    # --- reading: any process -------------------------------------------------------------------------------

    def read_state(self) -> State | None:
        """Return what ``cluster.json`` contains, or None if there is none of this version."""
        state = _read_json(self.state_file)
        known = isinstance(state, dict) and state.get("version") == VERSION
        return cast(State, state) if known else None

    def running(self) -> State | None:
        """Return the state of the cluster that lives in this folder, or None if none does."""
        state = self.read_state()
        if state is None:
            return None
        supervisor = state["processes"].get("supervisor", (0, ""))
        return state if process_groups.is_alive(*supervisor) else None

    def compose_project(self) -> str | None:
        """Return the compose project that this cluster is, or None if no valid note names one."""
        note = _read_json(self.compose_file)
        project = note.get("project") if isinstance(note, dict) else None
        return project if isinstance(project, str) and project else None

    def note_compose_project(self, project: str) -> None:
        """Note that this cluster is a compose project: the next command finds it without ``--backend``."""
        if self.compose_project() != project:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(self.compose_file, json.dumps({"project": project}) + "\n")

    def read_token(self) -> str:
        """Return the cluster's secret. Raises ClusterError if it is gone."""
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ClusterError(
                N_("cannot read the cluster's secret in {path}: {reason}"),
                path=str(self.token_file),
                reason=error.strerror,
            ) from error

    # --- writing: the supervisor, under the lock ------------------------------------------------------------

    def take(self) -> list[str]:
        """Make the folder if necessary, lock it, and clear away what a crashed cluster left in it.

        Returns the names of the processes that were still there and have been ended. Raises ClusterError if a
        living cluster holds the folder.
        """
        (self.path / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        self._lock = _lock(self.lock_file)
        ended = self._end_leftovers()
        self._remove_files_of_the_moment()
        self.begin_history()
        return ended

    def sweep(self, *, keep: bool) -> list[str]:
        """Clear away what a crashed cluster left, without starting another one in the folder.

        With ``keep``, history and logs stay; otherwise nothing does. Returns the names of the processes
        ended. Raises ClusterError if a living cluster holds the folder.
        """
        if not self.path.is_dir():
            return []
        self._lock = _lock(self.lock_file)
        ended = self._end_leftovers()
        self.leave(keep=keep)
        return ended

    def _end_leftovers(self) -> list[str]:
        """End the processes that ``cluster.json`` names and that still live; return their names."""
        state = self.read_state()
        ended = []
        for name, (pid, born) in ({} if state is None else state["processes"]).items():
            if process_groups.is_alive(pid, born):
                process_groups.end(pid, born)
                ended.append(name)
        return ended

    def write_state(self, state: State) -> None:
        """Write ``cluster.json``, whole or not at all."""
        _write(self.state_file, json.dumps({"version": VERSION, **state}, indent=1) + "\n")

    def write_token(self, token: str) -> None:
        """Write the cluster's secret, readable by its owner alone."""
        _write(self.token_file, token + "\n")

    def open_log(self, name: str, max_bytes: int = 1 << 20) -> int:
        """Return a descriptor that appends to the log of ``name``; a log too long is put aside first."""
        path = self.log_file(name)
        try:
            if path.stat().st_size > max_bytes:
                path.replace(path.with_suffix(".log.1"))
        except OSError:
            pass  # its first start; or the log cannot be put aside, and goes on
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def leave(self, *, keep: bool) -> None:
        """Remove the files of the moment, or everything unless ``keep``, and release the folder."""
        self._remove_files_of_the_moment()
        if not keep:
            self.remove()
        elif sys.platform != "win32":  # Windows removes no open file
            self.lock_file.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Remove the folder with everything in it; nothing if it is gone already."""
        import shutil

        shutil.rmtree(self.path, ignore_errors=sys.platform == "win32" or not self.path.exists())

    def _remove_files_of_the_moment(self) -> None:
        # The secret goes last: as long as cluster.json names processes, they can be found and ended.
        momentary = [
            *self.path.glob("*.part"),
            self.broker_file,
            self.state_file,
            self.token_file,
        ]
        for path in momentary:
            path.unlink(missing_ok=True)

    def begin_history(self) -> None:
        """Make room for a new history: events.jsonl becomes events-1.jsonl, that one events-2.jsonl, and so
        on; the oldest goes."""
        if not self.events_file.exists():
            return
        self._earlier(KEPT_HISTORIES).unlink(missing_ok=True)
        for number in range(KEPT_HISTORIES - 1, 0, -1):
            if self._earlier(number).exists():
                self._earlier(number).replace(self._earlier(number + 1))
        self.events_file.replace(self._earlier(1))
        total = 0
        for number in range(1, KEPT_HISTORIES + 1):
            path = self._earlier(number)
            total += path.stat().st_size if path.exists() else 0
            if number > 1 and total > KEPT_HISTORY_BYTES:
                path.unlink(missing_ok=True)

    def _earlier(self, number: int) -> Path:
        return self.path / f"events-{number}.jsonl"


def running_clusters(home: Path) -> list[str]:
    """Return the names of the background clusters of processes that run now, sorted."""
    folder = home / "clusters"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if RunFolder(folder / name).running() is not None]


def _read_json(path: Path) -> Any:
    """Return the content of a file of ours; None if it is missing, or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):  # edited by hand: our own files are always whole
        return None


def _write(path: Path, text: str) -> None:
    """Write a file of ours, whole, that only its owner may read."""
    atomic_write(path, text.encode(), 0o600)


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock on ``path``. Raises ClusterError if another one does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            file_lock.take(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ClusterError(
                N_("a cluster runs in {folder} already; python -m labkit status shows it, down ends it"),
                folder=str(path.parent),
            ) from error
        try:
            # Its last owner may have removed it between our two steps; then we have locked nothing.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # it has been removed
        os.close(descriptor)
