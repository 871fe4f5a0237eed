"""The same work in a plain loop in this process: the reference for every pixel of the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from labkit.demo.batch import Picture
from labkit.executors import open_executor
from labkit.imaging import image_files
from labkit.imaging.filters import Step
from labkit.jobs import process_encoded


class Reference(NamedTuple):
    """The right results in the order of the pictures (PNG files), and the loop's seconds."""

    results: list[bytes]
    seconds: float

    @property
    def per_s(self) -> float:
        """Pictures per second."""
        return len(self.results) / self.seconds if self.seconds else 0.0


def compute(
    pictures: Sequence[Picture], steps: list[Step], on_progress: Callable[[int], None] = lambda done: None
) -> Reference:
    """Return the reference for ``pictures``, computed by the sequential engine with one thread."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in a worker; more would make the loop look faster than one worker is
    try:
        with open_executor("sequential") as executor:
            executor.submit(process_encoded, pictures[0].data, steps).result()  # warm: libraries, caches
            results: list[bytes] = []
            began = time.monotonic()
            for picture in pictures:
                results.append(executor.submit(process_encoded, picture.data, steps).result())
                on_progress(len(results))
            return Reference(results, time.monotonic() - began)
    finally:
        cv2.setNumThreads(threads)


def different(reference: Reference, results: Iterable[tuple[int, bytes]]) -> list[int]:
    """Return the numbers of the pictures whose pixels are not those of the reference, in order.

    ``results`` are (number of the picture, PNG file), in any order and number.
    """
    return [number for number, data in results if not _same_pixels(reference.results[number], data)]


def _same_pixels(expected: bytes, found: bytes) -> bool:
    if expected == found:
        return True  # the same file has the same pixels
    import numpy as np

    return np.array_equal(image_files.decode(expected), image_files.decode(found))
