# rejected by: not-beyond
def find_knee(measure, start):
    measure(start)
    return 4 * start
