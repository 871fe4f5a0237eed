# rejected by: flaps
import math


class Autoscaler:
    def __init__(self):
        self.shrank_at = -100.0

    def size(self, now, workers, work_s):
        wanted = max(1, min(8, math.ceil(work_s)))
        if wanted < workers:
            if now - self.shrank_at < 3.0:
                return workers
            self.shrank_at = now
        return wanted
