"""Measures on a machine that also does other things: repeated timings with their spread, and recordings of
calls.

Rules:

* A single run proves nothing. `measured` warms up once, runs several times and keeps every time. The result
  is the median, which one bad run does not move; minimum and maximum are its spread.
* Everything that is compared does the same work, memory included. A page that is touched for the first time
  costs a thread a visit to the kernel. Of 72 blurred pictures of 2 MB, kept until the end of a run, one
  thread had 33,000 such visits and two threads 8,000, because memory that they had freed was used again: two
  threads on two cores came out 2.4 times as fast as one. So timed code drops its results (`without_result`),
  and freed memory stays with the process (`KEPT_BYTES`): then there are no such visits, however many threads
  there are.
* A `Recording` notes for each call the thread, the start and the end, on this process's monotonic clock. It
  is meant for threads: of a call in another process it sees only the thread that waits for it.
* `cores` is the number of cores that this process may use, not the number that the machine has.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, ParamSpec, TypeVar

from labkit.support.text import Spoken

KEPT_BYTES = 24 << 20
"""The largest freed block whose memory stays with this process."""

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Timing(NamedTuple):
    """How long each run took, in seconds."""

    times: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.times)

    @property
    def least(self) -> float:
        return min(self.times)

    @property
    def most(self) -> float:
        return max(self.times)

    def __str__(self) -> str:
        """Return the median with its spread: ``0.51 s (0.48–0.60, 3×)``; one run has no spread."""
        median, least, most = Spoken(self.median), Spoken(self.least), Spoken(self.most)
        if len(self.times) == 1:
            return f"{median:.2f} s (1×)"
        return f"{median:.2f} s ({least:.2f}–{most:.2f}, {len(self.times)}×)"


def measured(call: Callable[[], object], runs: int = 3, warm_up: int = 1) -> Timing:
    """Return how long ``call()`` took in each of ``runs`` runs, after ``warm_up`` runs that do not count."""
    _keep_what_is_freed()
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return Timing(tuple(times))


def measured_over(
    values: Iterable[T], call: Callable[[T], object], runs: int = 3, warm_up: int = 1
) -> dict[T, Timing]:
    """Return how long ``call(value)`` took for each of ``values``, in each of ``runs`` rounds.

    A round calls it once for each value, so that other work of the machine affects all of them alike. Every
    other round goes backwards; otherwise the first value would always pay for cleaning up after the last one
    (a message of 10 kB took seven times as long after one of 10 MB as after another small one).
    """
    _keep_what_is_freed()
    order = list(values)
    times: dict[T, list[float]] = {value: [] for value in order}
    for round_ in range(-warm_up, runs):
        for value in order:
            began = time.perf_counter()
            call(value)
            if round_ >= 0:
                times[value].append(time.perf_counter() - began)
        order.reverse()
    return {value: Timing(tuple(taken)) for value, taken in times.items()}


def calls_lasting(seconds: float, call: Callable[[], object], multiple: int = 1) -> int:
    """Return how many calls of ``call()``, one after the other, take ``seconds`` here and now, or longer.

    The number is a multiple of ``multiple``, so that the calls can be divided evenly. It is measured with
    calls that last a tenth of that time together, because a single short call cannot be timed.
    """
    _keep_what_is_freed()
    call()
    done = 0
    began = time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds / 10 or not done:
        call()
        done += 1
    return multiple * max(1, math.ceil(seconds * done / taken / multiple))


def without_result(function: Callable[P, object]) -> Callable[P, None]:
    """Return ``function`` without its result, for timing; see the rules above."""

    @functools.wraps(function)
    def forgetful(*args: P.args, **kwargs: P.kwargs) -> None:
        function(*args, **kwargs)

    return forgetful


@functools.cache
def _keep_what_is_freed() -> None:
    """Make the C library keep freed memory, up to `KEPT_BYTES` at once, instead of returning it.

    glibc adapts to the blocks that are freed: afterwards, blocks up to the largest so far come from its heap,
    and it keeps up to twice that size free at the end of the heap. So this function frees one block. The
    block is never written to, so it costs nothing. Once is enough; with another library it has no effect.
    """
    bytes(KEPT_BYTES)


def doublings(limit: int) -> list[int]:
    """Return 1, 2, 4, 8 ... up to ``limit``."""
    return [1 << power for power in range(max(limit, 1).bit_length())]


def in_threads(count: int, function: Callable[..., R], *inputs: Iterable[Any]) -> list[R]:
    """Return the results of ``function`` on each of the inputs, computed in ``count`` threads, in order."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, *inputs))


class Span(NamedTuple):
    """One call: thread ``who``, argument ``what``; ``begin`` and ``end`` in seconds since the start."""

    who: str
    what: str
    begin: float
    end: float


class Recording:
    """Records the calls of functions: ``pool.map(recording.of(fetch), urls)``."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._began = time.perf_counter()
        self._names: dict[threading.Thread, str] = {}  # not idents: a later thread may get the same one
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def of(self, function: Callable[P, R], what: str | None = None) -> Callable[P, R]:
        """Return ``function`` with each of its calls recorded.

        The record names ``what``, or else the first argument (of an address or path its last part).
        """

        @functools.wraps(function)
        def noted(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                about = what if what is not None else str(args[0]).rpartition("/")[2] if args else ""
                self._note(about, began, time.perf_counter())

        return noted

    def _note(self, what: str, began: float, ended: float) -> None:
        with self._lock:
            me = threading.current_thread()
            if me not in self._names:
                self._names[me] = "main" if me is threading.main_thread() else f"thread-{next(self._numbers)}"
            self.spans.append(Span(self._names[me], what, began - self._began, ended - self._began))

    @property
    def duration_s(self) -> float:
        """From the first beginning to the last end, in seconds; 0.0 without calls."""
        if not self.spans:
            return 0.0
        return max(span.end for span in self.spans) - min(span.begin for span in self.spans)

    @property
    def most_at_once(self) -> int:
        """How many calls were open at the same time, at most."""
        edges = sorted([(s.begin, 1) for s in self.spans] + [(s.end, -1) for s in self.spans])
        return max(itertools.accumulate(step for _at, step in edges), default=0)
