# rejected by: wrong-speed-up
def speed_up(serial, workers):
    return 1 / ((1 - serial) + serial / workers)


def makespan(seconds, workers):
    return sum(seconds) / workers
