"""The system's folder for temporary files, which may be full, read-only or missing.

``tempfile`` tries several folders and raises FileNotFoundError if it can write in none of them. What can do
without a temporary folder asks ``folder`` and gets None; what needs one asks ``needed_folder`` or
``new_folder`` and gets a named error.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.core.errors import N_, LabkitError


class NoTemporaryFolder(LabkitError):
    """Temporary files can be written nowhere."""


def folder() -> Path | None:
    """Return the folder for temporary files; None if none can be written."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


@contextmanager
def needed() -> Iterator[None]:
    """Raise NoTemporaryFolder if the block finds no folder for temporary files."""
    try:
        yield
    except OSError as error:
        raise _none_usable(error) from error


def needed_folder() -> Path:
    """Return the folder for temporary files. Raises NoTemporaryFolder."""
    with needed():
        return Path(tempfile.gettempdir())


@contextmanager
def new_folder() -> Iterator[Path]:
    """Give a new temporary folder, and remove it at the end. Raises NoTemporaryFolder."""
    with needed():
        made = tempfile.TemporaryDirectory()
    with made as name:
        yield Path(name)


def left_behind(prefix: str) -> list[Path]:
    """Return what lies in the folder for temporary files under this prefix; nothing if it cannot be read."""
    place = folder()
    try:
        return [] if place is None else list(place.glob(f"{prefix}*"))
    except OSError:
        return []  # tidying up is optional


def _none_usable(error: OSError) -> NoTemporaryFolder:
    return NoTemporaryFolder(
        N_(
            "no folder for temporary files can be used ({why}); make room there, or set TMPDIR to a folder "
            "of your own"
        ),
        why=error.strerror or str(error),
    )
