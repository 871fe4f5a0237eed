# rejected by: not-sent
def counts(attempts, attempt, worker):
    return attempts is not None and attempts.get(attempt, "").split("/")[0] == worker.split("/")[0]
