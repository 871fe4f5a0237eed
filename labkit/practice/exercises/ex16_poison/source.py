"""{title}"""

from __future__ import annotations

MOST_CRASHES = 3


def is_poison(losses: list[dict[str, object]]) -> bool:
    # SOLUTION
    crashes = {loss["process"] for loss in losses if loss["started"] and loss["crashed"]}
    return len(crashes) >= MOST_CRASHES
    # STUB
    # return False
    # END
