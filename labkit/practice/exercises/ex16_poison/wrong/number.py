# rejected by: wrong-type
def is_poison(losses):
    return sum(1 for loss in losses if loss["started"] and loss["crashed"])
