# rejected by: waits-too-long
def choose(task, workers, now):
    return workers[0]
