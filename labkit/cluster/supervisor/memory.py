"""Whether the kernel has killed processes because memory was short.

Linux counts them since the machine's start, as ``oom_kill`` in ``/proc/vmstat``. The count is the machine's:
it does not say which process was killed. Elsewhere there is no count, and nothing is known.
"""

from __future__ import annotations

VMSTAT = "/proc/vmstat"


def kills_for_memory() -> int:
    """Return how many processes the kernel has killed for lack of memory; 0 where it does not count them."""
    try:
        with open(VMSTAT, encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError, IndexError):
        return 0
