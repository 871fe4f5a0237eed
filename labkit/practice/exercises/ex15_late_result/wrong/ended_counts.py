# rejected by: doubled
def counts(attempts, attempt, worker):
    return attempts is None or attempts.get(attempt) == worker
