# rejected by: order
def to_submit(asked, sent, ended):
    return sorted(set(asked) - set(ended))
