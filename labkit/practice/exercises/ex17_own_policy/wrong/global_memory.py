# rejected by: raised
turn = []


def choose(task, workers, now):
    turn.append(task.id)
    return workers[len(turn)]
