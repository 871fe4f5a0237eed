# rejected by: too-many
def find_knee(measure, start):
    rate = start
    while True:
        step = measure(rate + 0.02 * start)
        if step.done < 0.9 * step.offered:
            return rate
        rate += 0.02 * start
