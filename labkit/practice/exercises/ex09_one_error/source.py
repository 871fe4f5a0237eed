"""{title}"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor


def run_all(
    executor: Executor, function: Callable[[int], int], inputs: list[int]
) -> tuple[dict[int, int], dict[int, str]]:
    # SOLUTION
    futures = {value: executor.submit(function, value) for value in inputs}
    results, errors = {}, {}
    for value, future in futures.items():
        error = future.exception()
        if error is None:
            results[value] = future.result()
        else:
            errors[value] = str(error)
    return results, errors
    # STUB
    # return dict(zip(inputs, executor.map(function, inputs))), {}
    # END
