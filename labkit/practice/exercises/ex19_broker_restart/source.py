"""{title}"""

from __future__ import annotations


def to_submit(asked: list[str], sent: list[str], ended: list[str]) -> list[str]:
    # SOLUTION
    return [task for task in asked if task not in ended]
    # STUB
    # return [task for task in asked if task not in sent]
    # END
