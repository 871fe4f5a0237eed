"""Pictures for displays and files that know only opaque colours of 8 bits.

An array is ``(height, width)`` grey, ``(height, width, 3)`` BGR or ``(height, width, 4)`` BGRA, uint8 or
uint16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def eight_bits(image: np.ndarray) -> np.ndarray:
    """Return the picture as uint8; 16 bits are scaled, so that white stays white."""
    import numpy as np

    if image.dtype == np.uint8:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def flattened(image: np.ndarray, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """Return the picture without transparency, laid on ``background``: blue, green and red, 0 to 255."""
    import numpy as np

    if image.ndim == 2 or image.shape[2] == 3:
        return image
    most = int(np.iinfo(image.dtype).max)
    alpha = image[:, :, 3].astype(np.uint64)
    result = np.empty((*image.shape[:2], 3), image.dtype)
    for channel in range(3):
        below = background[channel] * (most // 255)
        result[:, :, channel] = (image[:, :, channel] * alpha + below * (most - alpha) + most // 2) // most
    return result
