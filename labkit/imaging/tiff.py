"""TIFF files: the first page's directory, its metadata, and who decodes which kind.

Pillow decodes pages of 8 bits. Of 16 bits, OpenCV decodes the plain kinds, also compressed ones; tifffile the
others (white stored as zero, channels in planes, grey or premultiplied colours with alpha), which OpenCV
decodes wrongly.

Source: TIFF 6.0.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging.decoders import ERRORS, by_opencv, by_pillow, pillow_errors, turned
from labkit.imaging.header import Header, check_size, damaged, truncated
from labkit.imaging.metadata import CENTIMETRES, Metadata, a_metre

if TYPE_CHECKING:
    import numpy as np
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

_MOST_PAGES = 1000
_MOST_SAMPLES = 8
_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""Tags for people: description, make, model, software, date, artist, copyright."""
_EXIF, _GPS, _PLACES = 34665, 34853, (0x927C, 0xA005)
"""``_PLACES`` in EXIF are counted from the beginning of the file, so they cannot move."""
_LONG = 4
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INKS = 0, 1, 2, 5
_ASSOCIATED, _UNASSOCIATED = 1, 2
_WHOLE, _SIGNED = 1, 2
_PLAIN, _DEFLATED = 1, (8, 32946)


class _Page:
    """The first page's directory."""

    def __init__(self, data: bytes) -> None:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        file = io.BytesIO(data)
        self.head = data[:16] if data[2] == 43 else data[:8]
        directory = ImageFileDirectory_v2(self.head)
        self.at = directory.next
        file.seek(self.at)
        directory.load(file)
        self.tags = directory
        self.width, self.height = self.first(256), self.first(257)
        self.bits = max(self.numbers(258) or (1,))
        self.colours = self.first(262)
        self.samples = self.first(277, 1)
        self.in_planes = self.first(284, 1) == 2 and self.samples > 1
        self.extra = self.numbers(338)
        self.orientation = self.first(274, 1)
        self.compression = self.first(259, _PLAIN)
        starts, sizes = self.numbers(273) or self.numbers(324), self.numbers(279) or self.numbers(325)
        self.strips = list(zip(starts, sizes, strict=True))
        """Of strips or tiles: where each begins, and its bytes."""
        self.format = self.first(339, _WHOLE)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag, none if it is missing."""
        value = self.tags.get(tag, ())
        return tuple(int(each) for each in (value if isinstance(value, tuple) else (value,)))

    def first(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        return (self.numbers(tag) or (default,))[0]


def examine(data: bytes, name: str, max_pixels: int) -> Header:
    """Return the header of a TIFF file; see `labkit.imaging.containers.examine`."""
    with pillow_errors(name):
        page = _Page(data)
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
            return _sixteen_bits(page, data, name)
        from PIL.TiffImagePlugin import TiffImageFile

        with pillow_errors(name):
            image = TiffImageFile(io.BytesIO(data))
        return by_pillow(image, name)

    try:
        metadata = _metadata(page, data)
    except ERRORS:
        metadata = Metadata()  # damaged; the pixels do not depend on it
    return Header(pixels, metadata, bits=page.bits, frames=_pages(data, page))


def _check_samples(page: _Page, name: str) -> None:
    if page.format == _SIGNED:
        raise ImageError(
            N_("{name} stores numbers below zero too; 8 or 16 bits without a sign are accepted"), name=name
        )
    if page.bits not in (1, 2, 4, 8, 16) or page.format != _WHOLE:
        raise ImageError(
            N_("{name} stores {bits} bits or fractions a channel; 8 or 16 whole bits are accepted"),
            name=name,
            bits=page.bits,
        )


def _pages(data: bytes, page: _Page) -> int:
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


def _sixteen_bits(page: _Page, data: bytes, name: str) -> np.ndarray:
    import cv2
    import numpy as np

    kinds = {(_BLACK_IS_ZERO, 1, ()), (_RGB, 3, ()), (_RGB, 4, (_UNASSOCIATED,)), (_RGB, 4, ())}
    if not page.in_planes and (page.colours, page.samples, page.extra) in kinds:
        return by_opencv(data, cv2.IMREAD_UNCHANGED, name)  # OpenCV turns it upright
    if page.samples > _MOST_SAMPLES or page.compression not in (_PLAIN, *_DEFLATED):
        raise _unreadable(name)
    if page.compression != _PLAIN:
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


def _check_inflated(page: _Page, data: bytes, name: str) -> None:
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


def _by_tifffile(page: _Page, data: bytes, name: str) -> np.ndarray:
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


def _metadata(page: _Page, data: bytes) -> Metadata:
    profile = page.tags.get(34675, b"")
    across, down = (float(page.tags.get(tag, 0)) for tag in (282, 283))
    density = a_metre(across, down, CENTIMETRES.get(page.first(296, 2) - 1))
    if density is not None and page.orientation in (5, 6, 7, 8):
        density = density[::-1]
    return Metadata(profile if isinstance(profile, bytes) else b"", _exif(page, data), density)


def _exif(page: _Page, data: bytes) -> bytes:
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
