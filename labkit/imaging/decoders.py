"""Pixels from bytes whose structure was checked, by OpenCV or by Pillow.

OpenCV decodes PNG, JPEG, WebP and plain TIFF files of 16 bits: Pillow has no colour pictures of 16 bits.
Pillow decodes GIF, BMP and TIFF files of 8 bits, in which OpenCV makes mistakes
(docs/decisions/imaging/decode-without-trust.md).
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging.header import damaged, truncated

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError,
    AssertionError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
# Pillow prints a warning about each odd tag; such tags are dropped.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@contextmanager
def pillow_errors(name: str) -> Iterator[None]:
    """Turn the errors of Pillow into `ImageError` about the picture ``name``."""
    from PIL.Image import DecompressionBombError

    try:
        yield
    except ImageError:
        raise
    except (*ERRORS, DecompressionBombError) as error:
        raise truncated(name) if "truncated" in str(error).lower() else damaged(name) from error


def by_opencv(data: bytes, flags: int, name: str) -> np.ndarray:
    """Return the picture in ``data`` as OpenCV decodes it with ``flags``, grey as ``(height, width)``."""
    import cv2
    import numpy as np

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise damaged(name) from error
    if image is None:
        raise damaged(name)
    return image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image


def by_pillow(image: Image.Image, name: str) -> np.ndarray:
    """Return the first frame of an opened picture of 8 bits as grey, BGR or BGRA."""
    import numpy as np

    with pillow_errors(name):
        image.load()
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.asarray(image.convert("L"))
        if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
            if image.mode == "La":  # Pillow converts premultiplied grey to plain grey only
                image = image.convert("LA")
            return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
        if image.mode in ("P", "RGB", "RGBX", "CMYK", "YCbCr"):
            return np.asarray(image.convert("RGB"))[:, :, ::-1]
    raise ImageError(
        N_("{name} stores colours as {mode}, which the lab cannot read; save it as PNG"),
        name=name,
        mode=image.mode,
    )


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return the picture upright. EXIF: 2 to 4 mirrored or upside down, 5 to 8 also on its side."""
    import cv2

    if orientation >= 5:
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)
