"""Limits for a stranger's code: memory, processes, files, processor time. POSIX only.

The limits are set in the learner's process before its code runs, and its children inherit them. The
superuser may have any number of processes and Windows has no such limits: there a check's own limits hold
(`labkit.practice.learner`).
"""

from __future__ import annotations

import sys

MEMORY_BYTES = 4 << 30
"""Address space; libraries such as OpenBLAS reserve far more than they use."""
FILE_BYTES = 64 << 20
OPEN_FILES = 256
CPU_S = 60
PROCESSES = 256
"""Counted for the user, not for one process: a bound on a fork bomb."""


def restrict() -> None:
    """Apply the limits to this process; call it between fork and exec."""
    if sys.platform == "win32":
        return
    import resource

    for name, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        _soft, hard = resource.getrlimit(name)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (limit, limit))
