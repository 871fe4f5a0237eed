# rejected by: waits-too-long
def choose(task, workers, now):
    return min(workers, key=lambda worker: worker.completed)
