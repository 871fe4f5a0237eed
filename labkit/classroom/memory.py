"""A list of this module, and a function that appends to it: each process has a list of its own.

That is the bug to find in the hunt of the second day.
"""

from __future__ import annotations

import os

seen: list[int] = []
"""The numbers that `remember` was called with in this process. It returns the process id."""


def remember(number: int) -> int:
    seen.append(number)
    return os.getpid()
