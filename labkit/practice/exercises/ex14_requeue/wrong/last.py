# rejected by: order
def after_loss(held, waiting):
    return waiting + held
