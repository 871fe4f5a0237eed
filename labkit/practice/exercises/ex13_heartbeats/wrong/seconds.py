# rejected by: too-late
def dead(last_heard, now, heartbeat_s):
    return [name for name, heard in last_heard.items() if now - heard > 4]
