"""{title}"""

from __future__ import annotations


def diagnose(wall_s: float, cpu_s: float) -> str:
    # SOLUTION
    if cpu_s < 0.5 * wall_s:
        return "waits"
    return "releases" if cpu_s > 1.5 * wall_s else "holds"
    # STUB
    # return "waits"
    # END
