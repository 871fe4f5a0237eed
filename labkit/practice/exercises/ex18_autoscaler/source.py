"""{title}"""

from __future__ import annotations

import math


class Autoscaler:
    LEAST, MOST = 1, 8
    TARGET_S = 1.0
    CALM_S = 3.0

    def __init__(self) -> None:
        self.changed_at = 0.0

    def size(self, now: float, workers: int, work_s: float) -> int:
        # SOLUTION
        wanted = math.ceil(work_s / self.TARGET_S)
        wanted = max(self.LEAST, min(self.MOST, wanted))
        if wanted < workers and now - self.changed_at < self.CALM_S:
            return workers
        if wanted != workers:
            self.changed_at = now
        return wanted
        # STUB
        # return math.ceil(work_s / self.TARGET_S)
        # END
