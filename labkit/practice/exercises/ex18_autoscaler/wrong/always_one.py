# rejected by: too-slow
class Autoscaler:
    def size(self, now, workers, work_s):
        return 1
