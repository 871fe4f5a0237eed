"""The operating system's lock on an open file: it ends with its process, so no lock is ever stale."""

from __future__ import annotations

import sys


def take(descriptor: int) -> None:
    """Lock an open file until its descriptor is closed. Raises BlockingIOError if it is locked already."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(str(error)) from error
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
