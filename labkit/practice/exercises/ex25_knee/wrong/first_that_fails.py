# rejected by: too-high
def find_knee(measure, start):
    rate = start
    while True:
        step = measure(rate)
        if step.done < 0.8 * step.offered:
            return rate * 0.99
        rate = 1.7 * rate
