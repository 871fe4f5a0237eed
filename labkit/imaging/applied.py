"""How often this process has applied each filter: a worker's log shows it.

A module of its own, because a worker reads the counts while another of its threads may still be importing the
filters: with OpenCV that takes a second on a slow machine.
"""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def note(name: str) -> None:
    """Count one more use of a filter."""
    with _lock:
        _counts[name] += 1


def counts() -> Counter[str]:
    """Return a copy of the counts; a filter that was never applied is missing."""
    with _lock:
        return Counter(_counts)
