# rejected by: wrong-type
def dead(last_heard, now, heartbeat_s):
    return min(last_heard, key=last_heard.get, default=None)
