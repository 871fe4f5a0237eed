"""{title}"""

from __future__ import annotations


def counts(attempts: dict[int, str] | None, attempt: int, worker: str) -> bool:
    # SOLUTION
    return attempts is not None and attempts.get(attempt) == worker
    # STUB
    # return True
    # END
