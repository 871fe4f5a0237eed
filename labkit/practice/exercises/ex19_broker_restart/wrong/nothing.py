# rejected by: lost
def to_submit(asked, sent, ended):
    return []
