# rejected by: promise-broken
def choose(task, workers, now):
    return None
