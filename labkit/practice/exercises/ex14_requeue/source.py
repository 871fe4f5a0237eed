"""{title}"""

from __future__ import annotations


def after_loss(held: list[str], waiting: list[str]) -> list[str]:
    # SOLUTION
    return held + waiting
    # STUB
    # return waiting
    # END
