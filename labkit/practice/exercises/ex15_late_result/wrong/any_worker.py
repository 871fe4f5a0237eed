# rejected by: not-sent
def counts(attempts, attempt, worker):
    return attempts is not None and worker in attempts.values()
