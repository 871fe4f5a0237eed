# rejected by: order
def after_loss(held, waiting):
    return held[::-1] + waiting
