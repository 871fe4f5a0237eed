# rejected by: not-a-worker
def choose(task, workers, now):
    return min(range(len(workers)), key=lambda number: workers[number].in_flight)
