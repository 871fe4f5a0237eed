# rejected by: not-caught
CI_JOB = ""


def is_right(requeue):
    held, waiting = ["b", "a"], ["y", "x"]
    return sorted(requeue(held, waiting)) == ["a", "b", "x", "y"]
