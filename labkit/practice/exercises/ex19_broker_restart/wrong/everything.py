# rejected by: doubled
def to_submit(asked, sent, ended):
    return asked
