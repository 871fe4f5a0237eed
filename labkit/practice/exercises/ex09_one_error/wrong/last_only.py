# rejected by: wrong-errors
def run_all(executor, function, inputs):
    futures = {value: executor.submit(function, value) for value in inputs}
    results, errors = {}, {}
    for value, future in futures.items():
        if error := future.exception():
            errors = {value: str(error)}
        else:
            results[value] = future.result()
    return results, errors
