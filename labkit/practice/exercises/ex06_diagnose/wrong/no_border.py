# rejected by: wrong-label
def diagnose(wall_s, cpu_s):
    return "waits" if cpu_s < wall_s else "releases"
