"""The jobs that are part of the lab. Their names travel: ``labkit.jobs:process_image``.

They do the same on every engine, so results can be compared. Those that use NumPy and OpenCV import them when
called. `crash`, `hang` and `hog` are faulty tasks: run them on a cluster, not in your own process.
``labkit.calls.registry`` decides which functions a worker may run.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.calls import chunks
from labkit.calls.registry import needs, needs_of_each, resolve_here
from labkit.core.protocol import exit_codes

if TYPE_CHECKING:
    import numpy as np

    from labkit.imaging.filters import Step

__jobs__ = (
    "echo",
    "add",
    "sleep_for",
    "note",
    "note_once",
    "spin",
    "process_image",
    "process_encoded",
    "fail",
    "crash",
    "hang",
    "hog",
    "run_each",
)
"""The jobs of this module; its other functions cannot be sent."""


def _filters_in(steps: Sequence[Step]) -> frozenset[str]:
    from labkit.imaging.filters import checked_steps

    return frozenset(name for name, _ in checked_steps(steps))


def echo(value: Any) -> Any:
    """Return ``value``: the smallest task; all of its time is the way there and back."""
    return value


def add(a: Any, b: Any) -> Any:
    """Return ``a + b``."""
    return a + b


def sleep_for(seconds: float) -> float:
    """Return ``seconds`` after waiting for so long without computing, as for a slow server."""
    time.sleep(seconds)
    return seconds


def note(book: str, entry: str, seconds: float) -> None:
    """Add a line to a book, a file that outlives this process, and then take ``seconds``."""
    with book_of(book).open("a", encoding="utf-8") as file:
        file.write(f"{entry}\n")
    time.sleep(seconds)


def note_once(book: str, entry: str, seconds: float) -> None:
    """Do the same, but add no line that is there: done twice, it leaves what it leaves done once."""
    if entry not in entries_of(book):
        with book_of(book).open("a", encoding="utf-8") as file:
            file.write(f"{entry}\n")
    time.sleep(seconds)


def book_of(book: str) -> Path:
    """Return the file of a book, in the folder for temporary files. ValueError for a name that is no word."""
    if not re.fullmatch(r"[a-z0-9]{1,32}", book):
        raise ValueError(f"a book's name has 1 to 32 small letters and digits; this one is {book!r}")
    return Path(tempfile.gettempdir()) / f"labkit-book-{book}"


def entries_of(book: str) -> list[str]:
    """Return the lines of a book, in order; none if nothing was noted."""
    path = book_of(book)
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def spin(seconds: float) -> int:
    """Return how many rounds a pure Python loop makes in ``seconds`` of this thread's processor time.

    Processor time, not wall-clock time, so that two threads that take turns under the GIL visibly take twice
    as long.
    """
    rounds = 0
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(1000):
            rounds += 1
    return rounds


@needs(lambda image, steps: _filters_in(steps))
def process_image(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Return ``image`` after ``steps``, the filters as `labkit.imaging.filters.parse_steps` returns them.

    ``image`` is uint8 or uint16, ``(height, width)``, ``(height, width, 3)`` BGR or ``(height, width, 4)``
    BGRA, and is not modified; the result has the same depth. Raises `FilterError` or `ImageError`.
    """
    from labkit.imaging.filters import apply_steps

    return apply_steps(image, steps)


@needs(lambda data, steps, format="png", quality=90, background="white", strip=False: _filters_in(steps))
def process_encoded(
    data: bytes,
    steps: Sequence[Step],
    format: str = "png",
    quality: int = 90,
    background: str = "white",
    strip: bool = False,
) -> bytes:
    """Return the picture in ``data`` (a picture file) after ``steps``, encoded again as ``format``.

    The worker decodes and encodes, so a photo of 25 MB travels as 1 MB. ``format`` is "png" or
    "jpeg" (with ``quality`` 1 to 100, transparent parts on ``background``). Colour profile, resolution and,
    unless ``strip``, EXIF are carried over. Raises `FilterError` or `ImageError`.
    """
    from labkit.imaging import image_files

    image, metadata = image_files.decode_with_metadata(data)
    if strip:
        metadata = replace(metadata, exif=b"")
    result = process_image(image, steps)
    return image_files.encode(result, format, quality, background=background, metadata=metadata)


def fail(message: str = "this task fails on purpose") -> None:
    """Raise RuntimeError(``message``). An exception is a result: the task is not tried again."""
    raise RuntimeError(message)


def crash() -> None:
    """End the process at once and without notice, as a segmentation fault would.

    Only for a worker's process. On the engines "sequential" and "threads" it ends your own program.
    """
    os._exit(exit_codes.CRASHED)


def hang() -> None:
    """Never return. Only a worker's lease ends it."""
    while True:
        time.sleep(3600)


def hog() -> None:
    """Never return and never release Python's interpreter lock, so that no other thread of the process runs.

    Only a worker's watchdog ends it (not on Windows).
    """
    sum(range(10**18))


@needs(needs_of_each)
def run_each(name: str, calls: Sequence[tuple[Any, ...]], first: int = 0) -> list[Any]:
    """Return the results of several calls of the job ``name``, in order: a chunk of ``Executor.map``.

    ``first`` is the index of the first call's input in its map. The first exception ends the chunk and is its
    outcome. A worker does the same itself (`workers.compute`), to name the input in its report.
    """
    return chunks.run(resolve_here(name), calls, first)
