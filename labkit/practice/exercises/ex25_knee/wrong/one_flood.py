# rejected by: jump
def find_knee(measure, start):
    return measure(100 * start).done
