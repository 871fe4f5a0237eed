"""State that stays in the process a function runs in: for the bug hunt of the second day."""

from __future__ import annotations

import os

seen: list[int] = []
"""The numbers that `remember` was called with in this process. It returns the process id."""


def remember(number: int) -> int:
    seen.append(number)
    return os.getpid()
