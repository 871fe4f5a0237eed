"""Starters of clusters choose their ports one after the other.

A port that is free when it is chosen is taken seconds later, when a process listens on it. Two clusters that
are started in the same second would both choose 5555, 6379 and 8000. So a starter holds a lock from its
choice until its processes listen, and the next one waits for it, but not forever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.support import file_lock

LOCK = "ports.lock"
PATIENCE_S = 30.0
"""As long as a cluster may take to be ready. A starter that takes longer is not waited for."""
LOOK_EVERY_S = 0.05


@contextmanager
def turn(home: Path, patience_s: float = PATIENCE_S) -> Iterator[bool]:
    """Hold the lock on the choice of ports in this block; give whether it is held.

    It is not held if another starter has it for ``patience_s``, or if the file cannot be opened. The start
    goes on then: a port that is taken after all ends in an error that names it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # a disk that is full or read-only
        yield False
        return
    try:
        yield _taken(descriptor, time.monotonic() + patience_s)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            file_lock.take(descriptor)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        except OSError:  # some network drives have no locks
            return False
        else:
            return True
