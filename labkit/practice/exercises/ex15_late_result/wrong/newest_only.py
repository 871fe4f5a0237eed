# rejected by: dropped
def counts(attempts, attempt, worker):
    return attempts is not None and attempt == max(attempts) and attempts[attempt] == worker
