# rejected by: not-each-once
def run_all(executor, function, inputs):
    results, errors = {}, {}
    for value in inputs:
        future = executor.submit(function, value)
        if future.exception():
            future = executor.submit(function, value)
        if error := future.exception():
            errors[value] = str(error)
        else:
            results[value] = future.result()
    return results, errors
