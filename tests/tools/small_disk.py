"""A disk of a few kilobytes, to fill up and to make read-only: a tmpfs, which takes root on Linux."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools.waiting import require

ALL = "all"
"""The file that takes what is left of the disk."""


class SmallDisk:
    """The disk mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Take all the room that is left."""
        with (self.path / ALL).open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                return

    def make_room(self) -> None:
        """Give back what ``fill`` took."""
        (self.path / ALL).unlink()

    def remount(self, options: str) -> None:
        """Mount it anew with other options: ``ro``, ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


@contextmanager
def small_disk(path: Path, size_kb: int = 64) -> Iterator[SmallDisk]:
    """Yield an empty disk at ``path``. Without the right to mount one: skipped on a laptop, failed in CI."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={size_kb}k"
    mounted = sys.platform == "linux" and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], capture_output=True).returncode
        == 0
    )
    require(mounted, "the right to mount a small disk (root on Linux)")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)
