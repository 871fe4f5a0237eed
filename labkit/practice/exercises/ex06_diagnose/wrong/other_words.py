# rejected by: unknown-label
def diagnose(wall_s, cpu_s):
    return "I/O" if cpu_s < 0.5 * wall_s else "CPU"
