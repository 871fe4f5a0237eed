"""Pixels of TIFF pages of 16 bits.

OpenCV decodes the plain kinds, also compressed ones; tifffile the others (white stored as zero, channels in
planes, grey or premultiplied colours with alpha, inks), which OpenCV decodes wrongly.
"""

from __future__ import annotations

import io
import logging
import zlib
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging.decoders import ERRORS, by_opencv, turned
from labkit.imaging.header import damaged
from labkit.imaging.tiff_page import DEFLATED, PLAIN, Page

if TYPE_CHECKING:
    import numpy as np

_MOST_SAMPLES = 8
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INKS = 0, 1, 2, 5
_ASSOCIATED, _UNASSOCIATED = 1, 2


def sixteen_bits(page: Page, data: bytes, name: str) -> np.ndarray:
    """Return the page, upright, as grey, BGR or BGRA; `ImageError` calls the picture ``name``."""
    import cv2
    import numpy as np

    kinds = {(_BLACK_IS_ZERO, 1, ()), (_RGB, 3, ()), (_RGB, 4, (_UNASSOCIATED,)), (_RGB, 4, ())}
    if not page.in_planes and (page.colours, page.samples, page.extra) in kinds:
        return by_opencv(data, cv2.IMREAD_UNCHANGED, name)  # OpenCV turns it upright
    if page.samples > _MOST_SAMPLES or page.compression not in (PLAIN, *DEFLATED):
        raise _unreadable(name)
    if page.compression != PLAIN:
        _check_inflated(page, data, name)
    image = _by_tifffile(page, data, name)
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _INKS: 4}.get(page.colours, 0)
    if image.dtype != np.uint16 or not colours or image.shape[2] < colours:
        raise _unreadable(name)
    alpha = None
    if page.extra and page.extra[0] in (_ASSOCIATED, _UNASSOCIATED) and image.shape[2] > colours:
        alpha = image[:, :, colours]
    image = image[:, :, :colours].astype(np.uint32)
    if page.colours == _WHITE_IS_ZERO:
        image = 65535 - image
    elif page.colours == _INKS:
        image = (65535 - image[:, :, :3]) * (65535 - image[:, :, 3:]) // 65535
    if alpha is not None and page.extra[0] == _ASSOCIATED:
        image = np.minimum(image * 65535 // np.maximum(alpha, 1)[:, :, None], 65535)
    image = image.astype(np.uint16)[:, :, ::-1]
    if alpha is not None:
        image = np.dstack([*[image[:, :, channel % image.shape[2]] for channel in range(3)], alpha])
    elif image.shape[2] == 1:
        image = image[:, :, 0]
    return turned(np.ascontiguousarray(image), page.orientation)


def _check_inflated(page: Page, data: bytes, name: str) -> None:
    """Raise `ImageError` for a strip that inflates to more than the whole picture: tifffile has no limit."""
    most = page.width * page.height * page.samples * 2 + (1 << 20)
    for start, size in page.strips:
        inflate = zlib.decompressobj()
        try:
            inflate.decompress(data[start : start + size], most)
        except zlib.error as error:
            raise damaged(name) from error
        if inflate.unconsumed_tail:
            raise damaged(name)


def _by_tifffile(page: Page, data: bytes, name: str) -> np.ndarray:
    """Return the samples of the first page, ``(height, width, samples)``."""
    import numpy as np
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it would print about odd tags
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            first = file.pages.first
            planes, _depth, height, width, samples = first.shaped
            if (height, width, planes * samples) != (page.height, page.width, page.samples):
                raise damaged(name)
            image = first.asarray()
            if planes > 1:
                return np.moveaxis(image.reshape(planes, height, width), 0, 2)
            return image.reshape(height, width, samples)
    except ImageError:
        raise
    except (*ERRORS, tifffile.TiffFileError) as error:
        raise _unreadable(name) from error


def _unreadable(name: str) -> ImageError:
    return ImageError(
        N_("{name} is a kind of TIFF file of 16 bits that the lab cannot read; save it as PNG"), name=name
    )
