# rejected by: idle-workers
def chunks(items, workers, messages):
    return [items] if items else []
