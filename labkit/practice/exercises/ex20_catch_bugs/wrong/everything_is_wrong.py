# rejected by: false-alarm
CI_JOB = ""


def is_right(requeue):
    return False
