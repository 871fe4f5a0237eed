"""TIFF files: the header of the first page, its decoder, and its metadata.

Pillow decodes pages of 8 bits; for 16 bits see `labkit.imaging.tiff_deep`.

Source: TIFF 6.0.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging.decoders import ERRORS, by_pillow, pillow_errors
from labkit.imaging.header import Header, check_size, damaged, truncated
from labkit.imaging.metadata import CENTIMETRES, Metadata, a_metre
from labkit.imaging.tiff_deep import sixteen_bits
from labkit.imaging.tiff_page import SIGNED, WHOLE, Page

if TYPE_CHECKING:
    import numpy as np
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

_MOST_PAGES = 1000
_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""Tags for people: description, make, model, software, date, artist, copyright."""
_EXIF, _GPS, _PLACES = 34665, 34853, (0x927C, 0xA005)
"""``_PLACES`` in EXIF are counted from the beginning of the file, so they cannot move."""
_LONG = 4


def examine(data: bytes, name: str, max_pixels: int) -> Header:
    """Return the header of a TIFF file; see `labkit.imaging.containers.examine`."""
    with pillow_errors(name):
        page = Page(data)
        check_size(page.width, page.height, name, max_pixels)
        if page.first(322) * page.first(323) > 16 * max(page.width * page.height, 1 << 16):
            raise damaged(name)  # a tile far larger than the picture
        if not page.strips:
            raise damaged(name)
        if any(start + size > len(data) for start, size in page.strips):
            raise truncated(name)
        _check_samples(page, name)

    def pixels() -> np.ndarray:
        if page.bits == 16:
            return sixteen_bits(page, data, name)
        from PIL.TiffImagePlugin import TiffImageFile

        with pillow_errors(name):
            image = TiffImageFile(io.BytesIO(data))
        return by_pillow(image, name)

    try:
        metadata = _metadata(page, data)
    except ERRORS:
        metadata = Metadata()  # damaged; the pixels do not depend on it
    is_grey = page.colours in (0, 1) and page.samples == 1
    return Header(pixels, metadata, page.bits, _pages(data, page), is_grey)


def _check_samples(page: Page, name: str) -> None:
    if page.format == SIGNED:
        raise ImageError(
            N_("{name} stores numbers below zero too; 8 or 16 bits without a sign are accepted"), name=name
        )
    if page.bits not in (1, 2, 4, 8, 16) or page.format != WHOLE:
        raise ImageError(
            N_("{name} stores {bits} bits or fractions a channel; 8 or 16 whole bits are accepted"),
            name=name,
            bits=page.bits,
        )


def _pages(data: bytes, page: Page) -> int:
    order = "<" if data[:2] == b"II" else ">"
    count, row, link = ("Q", 20, "Q") if data[2] == 43 else ("H", 12, "I")
    seen: set[int] = set()
    at = page.at
    try:
        while at and at not in seen and len(seen) < _MOST_PAGES:
            (rows,) = struct.unpack_from(order + count, data, at)
            seen.add(at)
            (at,) = struct.unpack_from(order + link, data, at + struct.calcsize(count) + row * rows)
    except (struct.error, OverflowError):
        pass  # the first page is whole
    return max(1, len(seen))


def _metadata(page: Page, data: bytes) -> Metadata:
    profile = page.tags.get(34675, b"")
    across, down = (float(page.tags.get(tag, 0)) for tag in (282, 283))
    density = a_metre(across, down, CENTIMETRES.get(page.first(296, 2) - 1))
    if density is not None and page.orientation in (5, 6, 7, 8):
        density = density[::-1]
    return Metadata(profile if isinstance(profile, bytes) else b"", _exif(page, data), density)


def _exif(page: Page, data: bytes) -> bytes:
    """Return the texts of a TIFF file, its EXIF and its GPS directory as a structure of their own."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    out = ImageFileDirectory_v2()
    _copy(page.tags, out, lambda tag: tag in _TEXTS)
    inner = {}
    for tag in (_EXIF, _GPS):
        if at := page.first(tag):
            file = io.BytesIO(data)
            file.seek(at)
            found = ImageFileDirectory_v2(page.head, group=tag)
            found.load(file)
            inner[tag] = ImageFileDirectory_v2(group=tag)
            _copy(found, inner[tag], lambda tag: tag not in _PLACES)
            out.tagtype[tag] = _LONG
            out[tag] = 0
    if not len(out):
        return b""
    at = 8 + len(out.tobytes(8))
    behind = b""
    for tag, directory in inner.items():
        out[tag] = at + len(behind)
        behind += directory.tobytes(at + len(behind))
    return b"II*\0\x08\0\0\0" + out.tobytes(8) + behind


def _copy(
    source: ImageFileDirectory_v2, target: ImageFileDirectory_v2, is_wanted: Callable[[int], bool]
) -> None:
    """Copy tags, except those that cannot be written again, with texts as they stand in the file.

    Pillow itself would write a text in ASCII.
    """
    for tag in filter(is_wanted, source):
        alone = type(target)(group=target.group)
        try:
            value = source[tag]
            value = value.encode("latin-1") if isinstance(value, str) else value
            for each in (alone, target):
                each.tagtype[tag] = source.tagtype[tag]
                each[tag] = value
                alone.tobytes(8)
        except (ValueError, TypeError, ArithmeticError, AssertionError, LookupError, struct.error):
            target.tagtype.pop(tag, None)
