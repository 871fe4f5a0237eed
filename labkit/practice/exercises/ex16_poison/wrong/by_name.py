# rejected by: tried-again
def is_poison(losses):
    return len({loss["worker"] for loss in losses if loss["started"] and loss["crashed"]}) >= 3
