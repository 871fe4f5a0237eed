# rejected by: not-better
def choose(task, workers, now):
    return min(workers, key=lambda worker: (worker.completed, worker.in_flight))
