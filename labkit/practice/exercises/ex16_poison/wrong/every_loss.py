# rejected by: innocent
def is_poison(losses):
    return len(losses) >= 3
