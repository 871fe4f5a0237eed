# rejected by: not-better
def choose(task, workers, now):
    return min(workers, key=lambda worker: worker.last_dispatch)
