"""A program with a serial and a parallel part: the example for Amdahl's law."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import repeat
from typing import TYPE_CHECKING

from labkit.imaging import image_files
from labkit.imaging.filter_functions import resize
from labkit.imaging.filters import Step
from labkit.jobs import process_image

if TYPE_CHECKING:
    import numpy as np

WIDTH, HEIGHT = 192, 144
"""Small enough for a filter in pure Python."""


def open_and_filter(
    pool: Executor, files: Sequence[bytes], steps: Sequence[Step], groups: int
) -> list[np.ndarray]:
    """Return the pictures in ``files``, made small and filtered, in order.

    Opening and shrinking them happens here, one after the other: the serial part. Filtering happens in
    ``pool``, in ``groups`` chunks of about equal size, so ``groups`` of its processes work.
    """
    pictures = [resize(image_files.decode(file), WIDTH, HEIGHT) for file in files]
    return list(pool.map(process_image, pictures, repeat(steps), chunksize=-(-len(pictures) // groups)))
