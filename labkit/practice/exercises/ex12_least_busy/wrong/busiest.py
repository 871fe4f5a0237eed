# rejected by: waits-too-long
def choose(task, workers, now):
    return max(workers, key=lambda worker: worker.in_flight)
