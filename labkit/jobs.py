"""The jobs that the lab brings with it. Their names travel: ``labkit.jobs:process_image``.

They do the same on every engine, so results can be compared; NumPy and OpenCV are imported by those that use
them. `crash`, `hang` and `hog` are the faults that a task can be: run them on a cluster, not in your own
process. Which functions a worker may run is decided in ``labkit.calls.registry``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.calls.registry import needs, needs_of_each, resolve_here
from labkit.core.protocol import exit_codes

if TYPE_CHECKING:
    import numpy as np

    from labkit.imaging.filters import Step

__jobs__ = (
    "echo",
    "add",
    "sleep_for",
    "spin",
    "process_image",
    "process_encoded",
    "fail",
    "crash",
    "hang",
    "hog",
    "run_each",
)
"""The jobs of this module: its other functions are not for sending."""


def _filters_in(steps: Sequence[Step]) -> frozenset[str]:
    from labkit.imaging.filters import checked_steps

    return frozenset(name for name, _ in checked_steps(steps))


def echo(value: Any) -> Any:
    """Return ``value``: the smallest task, all of its time is the way there and back."""
    return value


def add(a: Any, b: Any) -> Any:
    """Return ``a + b``."""
    return a + b


def sleep_for(seconds: float) -> float:
    """Wait for ``seconds`` without computing, as for a slow server, and return them."""
    time.sleep(seconds)
    return seconds


def spin(seconds: float) -> int:
    """Compute in pure Python for ``seconds`` of this thread's processor time; return how many rounds.

    Processor time, not time on the wall: two threads that take turns under the GIL take twice as long, and
    show it.
    """
    rounds = 0
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(1000):
            rounds += 1
    return rounds


@needs(lambda image, steps: _filters_in(steps))
def process_image(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Return ``image`` after ``steps``, the filters as `labkit.imaging.filters.parse_steps` makes them.

    ``image`` is uint8 ``(height, width)``, ``(height, width, 3)`` BGR or ``(height, width, 4)`` BGRA and is
    not modified. Raises `FilterError` or `ImageError`.
    """
    from labkit.imaging.filters import apply_steps

    return apply_steps(image, steps)


@needs(lambda data, steps, format="png", quality=90: _filters_in(steps))
def process_encoded(data: bytes, steps: Sequence[Step], format: str = "png", quality: int = 90) -> bytes:
    """Return the picture in ``data`` (a PNG or JPEG file) after ``steps``, encoded again as ``format``.

    Decoding and encoding are the worker's work: a photo of 25 MB travels as 1 MB. ``format`` is "png" or
    "jpeg" (with ``quality`` 1 to 100). Raises `FilterError` or `ImageError`.
    """
    from labkit.imaging import image_files

    return image_files.encode(process_image(image_files.decode(data), steps), format, quality)


def fail(message: str = "this task fails on purpose") -> None:
    """Raise RuntimeError(``message``): an exception is an answer, and is not tried again."""
    raise RuntimeError(message)


def crash() -> None:
    """End the process at once, without a word to anybody: what a segmentation fault looks like from outside.

    Only for a worker's process. On the engines "sequential" and "threads" it ends the program that you are
    in.
    """
    os._exit(exit_codes.CRASHED)


def hang() -> None:
    """Never return. Only a worker's lease ends it."""
    while True:
        time.sleep(3600)


def hog() -> None:
    """Never return, and never let go of Python's interpreter lock: no other thread of the process runs.

    Only the watchdog of a worker ends it (not on Windows).
    """
    sum(range(10**18))


@needs(needs_of_each)
def run_each(name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the results of several calls of the job ``name``, in order: a chunk of ``Executor.map``.

    The first exception ends them all, and is their outcome.
    """
    function = resolve_here(name)
    return [function(*args) for args in calls]
