# rejected by: wrong-makespan
def speed_up(serial, workers):
    return 1 / (serial + (1 - serial) / workers)


def makespan(seconds, workers):
    free_at = [0.0] * workers
    for task_s in sorted(seconds, reverse=True):
        free_at[free_at.index(min(free_at))] += task_s
    return max(free_at)
