# rejected by: not-each-once
def run_all(executor, function, inputs):
    results, errors = {}, {}
    for value in inputs:
        try:
            results[value] = executor.submit(function, value).result()
        except ValueError as error:
            errors[value] = str(error)
            break
    return results, errors
