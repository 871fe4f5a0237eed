"""The lab's main job, on any engine: many pictures through the same filters.

The same calls of the same module-level functions go to any `concurrent.futures.Executor`: sequential,
threads, processes or the cluster. Only the place where they run differs. Guarantee: results in the order of
the images, and the same pixels on every engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import repeat
from typing import TYPE_CHECKING

from labkit.imaging.filters import parse_steps
from labkit.jobs import process_encoded, process_image

if TYPE_CHECKING:
    import numpy as np

Params = Mapping[str, Mapping[str, object]]


def process_batch(
    executor: Executor,
    images: Iterable[np.ndarray],
    filters: Sequence[str],
    params: Params | None = None,
    *,
    timeout: float | None = None,
    chunksize: int = 1,
) -> list[np.ndarray]:
    """Return each of ``images`` after ``filters`` (names, applied in order), in the order of the images.

    ``images`` are uint8 arrays, grey, BGR or BGRA; ``params`` are the filters' parameters, such as
    ``{"sharpen": {"intensity": 3}}``. Raises `FilterError` before anything is sent, TimeoutError after
    ``timeout`` seconds, or the exception of the first failing image; images not started by then are
    cancelled. To get the others anyway, submit one by one: ``executor.submit(process_image, image, steps)``.
    """
    steps = parse_steps(filters, params)
    return list(executor.map(process_image, images, repeat(steps), timeout=timeout, chunksize=chunksize))


def process_encoded_batch(
    executor: Executor,
    files: Iterable[bytes],
    filters: Sequence[str],
    params: Params | None = None,
    *,
    format: str = "png",
    quality: int = 90,
    timeout: float | None = None,
    chunksize: int = 1,
) -> list[bytes]:
    """Return the results of `process_batch` for the bytes of PNG and JPEG ``files``, encoded as ``format``.

    The workers decode and encode, so far fewer bytes travel.
    """
    steps = parse_steps(filters, params)
    return list(
        executor.map(
            process_encoded,
            files,
            repeat(steps),
            repeat(format),
            repeat(quality),
            timeout=timeout,
            chunksize=chunksize,
        )
    )
