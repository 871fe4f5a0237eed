# rejected by: too-low
def find_knee(measure, start):
    usual_s = measure(start).p95_s
    rate = start
    while measure(1.2 * rate).p95_s <= usual_s:
        rate = 1.2 * rate
    return rate
