"""{title}"""

from __future__ import annotations

import math


def chunks(items: list[int], workers: int, messages: int) -> list[list[int]]:
    # SOLUTION
    size = max(1, math.ceil(len(items) / messages))
    return [items[start : start + size] for start in range(0, len(items), size)]
    # STUB
    # return [[item] for item in items]
    # END
