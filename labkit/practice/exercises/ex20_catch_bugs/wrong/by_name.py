# rejected by: false-alarm
CI_JOB = ""


def is_right(requeue):
    return requeue.__name__ in ("_plain", "_loop")
