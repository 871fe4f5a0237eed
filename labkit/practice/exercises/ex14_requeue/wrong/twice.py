# rejected by: doubled
def after_loss(held, waiting):
    return held + waiting + held
