"""What is known about a picture file before it is decoded, and the errors about its structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging.metadata import Metadata

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True)
class Header:
    """A file whose structure and size were checked."""

    pixels: Callable[[], np.ndarray]
    """Decodes the first frame and returns it upright, as grey, BGR or BGRA of 8 or 16 bits."""
    metadata: Metadata
    """Of the upright picture."""
    bits: int = 8
    frames: int = 1
    is_grey: bool = False
    """Whether the pixels are grey without alpha."""


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise `ImageError` for a picture without pixels or with more than ``max_pixels``."""
    if width <= 0 or height <= 0:
        raise damaged(name)
    if width * height > max_pixels:
        raise ImageError(
            N_("{name} has {width} x {height} pixels; at most {max_pixels} pixels in all are accepted"),
            name=name,
            width=width,
            height=height,
            max_pixels=max_pixels,
        )


def truncated(name: str) -> ImageError:
    """Return the error about a picture that ends too early."""
    return ImageError(N_("{name} is truncated: the picture ends in the middle"), name=name)


def damaged(name: str) -> ImageError:
    """Return the error about a picture with a wrong structure."""
    return ImageError(N_("{name} is damaged and cannot be decoded"), name=name)
