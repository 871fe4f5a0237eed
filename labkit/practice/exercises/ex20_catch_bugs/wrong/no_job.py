# rejected by: no-job
CI_JOB = "name: nothing"


def is_right(requeue):
    return requeue(["b", "a", "c"], ["y", "x"]) == ["b", "a", "c", "y", "x"]
