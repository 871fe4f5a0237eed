# rejected by: innocent
def is_poison(losses):
    return any(loss["started"] and loss["crashed"] for loss in losses)
