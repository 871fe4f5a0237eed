"""The gateway's folder of pictures: uploads and results, bounded in bytes and in age.

Names are made here (random hex digits): nothing that a caller sends becomes a part of a path. When the folder
is full, the oldest files go first; an upload that would not fit into an empty folder is refused.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple

from labkit.core.errors import N_
from labkit.gateway.problems import Problem
from labkit.support.atomic_files import atomic_write

ID = re.compile(r"[0-9a-f]{32}")
SUFFIX = ".picture"


class Stored(NamedTuple):
    """One file of the spool; ``at`` is seconds since 1970."""

    id: str
    bytes: int
    at: float


class Spool:
    """Pictures under ids of 32 hex digits, at most ``most_bytes`` of them, for ``keep_s`` seconds.

    Any thread may use it. The folder may hold files of a former gateway: they count, and can be read.
    """

    def __init__(self, folder: Path, most_bytes: int = 512 << 20, keep_s: float = 3600.0) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._keep_s = keep_s
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: dict[str, Stored] = {}
        for path in folder.glob(f"*{SUFFIX}"):
            if ID.fullmatch(path.stem) and path.is_file():
                status = path.stat()
                self._files[path.stem] = Stored(path.stem, status.st_size, status.st_mtime)

    def put(self, data: bytes, id: str = "") -> str:
        """Keep a picture; return its id, a new one unless given. Raises Problem if it cannot be kept."""
        id = id or secrets.token_hex(16)
        if len(data) > self._most_bytes:
            raise Problem(
                413,
                "spool-full",
                N_("the picture has more bytes than the server keeps: {mib} MiB"),
                mib=self._most_bytes >> 20,
            )
        with self._lock:
            self._make_room(len(data))
            self._files.pop(id, None)
            try:
                atomic_write(self._path(id), data, 0o600)
            except OSError as error:
                raise Problem(
                    503,
                    "spool",
                    N_("the picture cannot be kept in {folder}: {reason}"),
                    next_step=N_("make room on that disk, and send it again"),
                    folder=str(self._folder),
                    reason=error.strerror or str(error),
                ) from error
            self._files[id] = Stored(id, len(data), time.time())
        return id

    def get(self, id: str) -> bytes:
        """Return a picture. Raises Problem if there is none with this id, or none any more."""
        with self._lock:
            self._forget_old()
            if id in self._files:
                try:
                    return self._path(id).read_bytes()
                except OSError:
                    del self._files[id]  # the file was removed by hand
        raise Problem(
            404,
            "no-picture",
            N_("there is no picture {id}; pictures are kept for {minutes:.0f} minutes"),
            next_step=N_("POST /api/images/ uploads one, GET /api/images/ lists them"),
            id=id[:40],
            minutes=self._keep_s / 60,
        )

    def __contains__(self, id: object) -> bool:
        with self._lock:
            self._forget_old()
            return id in self._files

    def listed(self) -> list[Stored]:
        """Return what is kept, the oldest first."""
        with self._lock:
            self._forget_old()
            return sorted(self._files.values(), key=lambda stored: stored.at)

    def _make_room(self, size: int) -> None:
        self._forget_old()
        kept = sum(stored.bytes for stored in self._files.values())
        for stored in sorted(self._files.values(), key=lambda stored: stored.at):
            if kept + size <= self._most_bytes:
                break
            self._remove(stored)
            kept -= stored.bytes

    def _forget_old(self) -> None:
        for stored in [s for s in self._files.values() if s.at < time.time() - self._keep_s]:
            self._remove(stored)

    def _remove(self, stored: Stored) -> None:
        del self._files[stored.id]
        self._path(stored.id).unlink(missing_ok=True)

    def _path(self, id: str) -> Path:
        if not ID.fullmatch(id):  # the ids come from this class; this is the last bar before a path
            raise Problem(404, "no-picture", N_("there is no picture {id}"), id=id[:40])
        return self._folder / f"{id}{SUFFIX}"
