# rejected by: lost
def after_loss(held, waiting):
    return held
