# rejected by: too-many-messages
def chunks(items, workers, messages):
    size = max(1, len(items) // messages)
    return [items[start : start + size] for start in range(0, len(items), size)]
