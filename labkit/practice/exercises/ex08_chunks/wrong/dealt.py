# rejected by: not-each-once
def chunks(items, workers, messages):
    return [items[n::messages] for n in range(min(messages, len(items)))]
