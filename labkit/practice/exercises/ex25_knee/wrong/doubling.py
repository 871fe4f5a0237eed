# rejected by: too-low
def find_knee(measure, start):
    rate = start
    while True:
        step = measure(2 * rate)
        if step.done < 0.9 * step.offered:
            return rate
        rate = 2 * rate
