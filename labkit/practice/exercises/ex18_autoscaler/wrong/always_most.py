# rejected by: wasteful
class Autoscaler:
    def size(self, now, workers, work_s):
        return 8
