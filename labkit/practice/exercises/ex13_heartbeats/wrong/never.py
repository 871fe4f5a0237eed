# rejected by: too-late
def dead(last_heard, now, heartbeat_s):
    return []
