# rejected by: flaps
import math


class Autoscaler:
    def size(self, now, workers, work_s):
        return max(1, min(8, math.ceil(work_s)))
