# rejected by: wrong-makespan
def speed_up(serial, workers):
    return 1 / (serial + (1 - serial) / workers)


def makespan(seconds, workers):
    return max(sum(seconds[n::workers]) for n in range(workers))
