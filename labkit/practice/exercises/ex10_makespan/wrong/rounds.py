# rejected by: wrong-makespan
import math


def speed_up(serial, workers):
    return 1 / (serial + (1 - serial) / workers)


def makespan(seconds, workers):
    return max(max(seconds), sum(seconds) / workers)
