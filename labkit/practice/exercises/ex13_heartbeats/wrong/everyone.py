# rejected by: too-early
def dead(last_heard, now, heartbeat_s):
    return list(last_heard)
