# rejected by: not-caught
CI_JOB = ""


def is_right(requeue):
    return requeue(["a"], ["x"]) == ["a", "x"]
