# rejected by: wrong-errors
def run_all(executor, function, inputs):
    futures = {value: executor.submit(function, value) for value in inputs}
    return {value: future.result() for value, future in futures.items() if not future.exception()}, {}
