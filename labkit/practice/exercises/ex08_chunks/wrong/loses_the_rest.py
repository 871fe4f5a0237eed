# rejected by: not-each-once
def chunks(items, workers, messages):
    size = max(1, len(items) // messages)
    return [items[size * n : size * (n + 1)] for n in range(min(messages, len(items)))]
