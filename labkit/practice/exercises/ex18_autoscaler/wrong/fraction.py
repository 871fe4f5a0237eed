# rejected by: wrong-type
class Autoscaler:
    def size(self, now, workers, work_s):
        return max(1, min(8, work_s))
