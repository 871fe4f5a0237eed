"""{title}"""

from __future__ import annotations


def dead(last_heard: dict[str, float], now: float, heartbeat_s: float) -> list[str]:
    # SOLUTION
    return [worker for worker, heard in last_heard.items() if now - heard > 4 * heartbeat_s]
    # STUB
    # return [worker for worker, heard in last_heard.items() if now - heard > heartbeat_s]
    # END
