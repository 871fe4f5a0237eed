# rejected by: wrong-label
def diagnose(wall_s, cpu_s):
    return "waits" if wall_s > 1 else "holds" if cpu_s > 0.5 else "releases"
