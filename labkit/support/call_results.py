"""The results of ``Executor.map``: an iterator that submits as it is read and cancels what is not wanted.

Rules, as in Python 3.14:

* Without a ``buffersize`` every call is submitted before ``map`` returns. With one, at most that many calls
  are submitted whose results have not been taken; each result that is taken lets the next call be submitted.
* The iterator raises what a call raised in its place, and TimeoutError when its time is up.

One more than in Python's own: an iterator that is dropped or closed cancels what it has not delivered, even
if it was never read.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any


def checked_buffersize(buffersize: int | None) -> int | None:
    """Return ``buffersize``, or raise TypeError or ValueError in the words of Python 3.14."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    return buffersize


class CallResults(Iterator[Any]):
    """Iterates over ``results``; when it is dropped or closed, it ends them and calls ``cancel``.

    A generator alone would not do: one that was never started ends without running any of its code.
    """

    def __init__(self, results: Generator[Any, None, None], cancel: Callable[[], object]) -> None:
        self._results = results
        self._cancel = cancel

    def __next__(self) -> Any:
        return next(self._results)

    def close(self) -> None:
        """Cancel what has not been delivered."""
        self._results.close()
        self._cancel()

    def __del__(self) -> None:
        self.close()


def map_futures(
    executor: Executor,
    submit: Callable[[Any], Future[Any]],
    inputs: Iterator[Any],
    timeout: float | None,
    buffersize: int | None,
) -> CallResults:
    """Return the results of ``submit(input)`` for each of the inputs, in order.

    ``submit`` must not refer to ``executor``: an iterator must not keep its executor from being dropped. Once
    it is dropped, no further input is taken.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    futures: deque[Future[Any]] = deque()

    def cancel() -> None:
        while futures:
            futures.pop().cancel()

    def submit_next(most: int | None) -> None:
        futures.extend(map(submit, islice(inputs, most)))

    try:
        submit_next(buffersize)
    except BaseException:  # an input that raises, Ctrl-C: the results will never be read
        cancel()
        raise
    alive = weakref.ref(executor)

    def results() -> Generator[Any, None, None]:
        try:
            while futures:
                if buffersize is not None and alive() is not None:
                    submit_next(1)
                yield _taken(futures.popleft(), ends_at)
        finally:
            cancel()

    return CallResults(results(), cancel)


def chained(chunks: Iterable[list[Any]]) -> Generator[Any, None, None]:
    """Yield the items of each chunk; each is released when it has been yielded."""
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def _taken(future: Future[Any], ends_at: float | None) -> Any:
    try:
        return future.result(None if ends_at is None else ends_at - time.monotonic())
    finally:
        future.cancel()
        del future  # the traceback refers to this frame: it must not refer to the future
