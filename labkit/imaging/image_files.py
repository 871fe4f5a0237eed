"""Pictures in and out: PNG and JPEG bytes to uint8 arrays and back, without trusting the bytes.

An array is ``(height, width)`` grey, ``(height, width, 3)`` BGR or ``(height, width, 4)`` BGRA, uint8:
OpenCV's own order. The rules for bytes from outside:

1. The signature decides what a file is, never its name.
2. The size is read from the header and checked *before* anything is decoded. A file of a few hundred bytes
   may announce 60,000 x 60,000 pixels, for which a decoder would allocate gigabytes.
3. A file must be complete. `decode` first walks its structure to the end mark (PNG: with every checksum), so
   that half a download raises an error and is not shown as half a picture.

Guarantee: `decode` returns an array as above or raises `ImageError`; `write` leaves the whole file or no
file.

Source: the PNG specification (third edition), sections 5 and 11; JPEG: ITU-T T.81, annex B.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.support.atomic_files import atomic_write, atomic_write_new

if TYPE_CHECKING:
    import numpy as np

Buffer = bytes | bytearray | memoryview

MAX_PIXELS = 25_000_000
"""Larger pictures are refused: 25 megapixels are more than a class needs, and a laptop can hold them."""
MAX_FILE_BYTES = 200_000_000
"""No PNG or JPEG of 25 megapixels is larger than its raw pixels at 16 bits and four channels."""

SUFFIXES = (".png", ".jpg", ".jpeg")

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# The chunks that carry pixels and palette. Everything else (colour profiles, comments, animation) is dropped
# before decoding: libpng prints a warning on stderr for each profile that it finds odd, and would spoil the
# live view.
_PNG_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# In JPEG's compressed data 0xFF is followed by 0x00 (a plain 0xFF), a restart mark or padding; anything else
# is a marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
_JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END, _JPEG_START_OF_SCAN = 0xD9, 0xDA


def check(image: object) -> np.ndarray:
    """Return ``image`` itself if it is an array that labkit works on; raise `ImageError` otherwise."""
    import numpy as np

    if not isinstance(image, np.ndarray):
        raise ImageError(
            N_(
                "an image must be a NumPy array, not {type}; "
                "labkit.imaging.image_files.decode makes one from a file's bytes"
            ),
            type=type(image).__name__,
        )
    if image.dtype != np.uint8:
        raise ImageError(N_("an image must have dtype uint8 (0 to 255), not {dtype}"), dtype=str(image.dtype))
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))) or image.size == 0:
        raise ImageError(
            N_(
                "an image must have the shape (height, width), (height, width, 3) or (height, width, 4), "
                "not {shape}"
            ),
            shape=image.shape,
        )
    return image


def decode(data: Buffer, *, max_pixels: int = MAX_PIXELS, name: str = "<image>") -> np.ndarray:
    """Return the picture in ``data`` (the bytes of a PNG or JPEG file) as a uint8 array.

    Grey stays ``(height, width)``, colour becomes BGR, a PNG with transparency BGRA; 16 bits a channel become
    8. A photo that its camera marked as rotated is rotated upright. Error messages call the picture ``name``.

    Raises `ImageError` if it is neither PNG nor JPEG, has more than ``max_pixels``, is truncated or damaged.
    """
    import cv2
    import numpy as np

    data = bytes(data)  # no copy if it is bytes already
    if data.startswith(_PNG):
        width, height, data = _walk_png(data, name)
        # UNCHANGED keeps transparency. It also ignores camera orientation, which these PNG files do not have.
        flags = cv2.IMREAD_UNCHANGED
    elif data.startswith(_JPEG):
        width, height = _walk_jpeg(data, name)
        flags = cv2.IMREAD_ANYCOLOR
    else:
        raise ImageError(N_("{name} is not a PNG or JPEG picture"), name=name)
    if width == 0 or height == 0:
        raise _damaged(name)
    if width * height > max_pixels:
        raise ImageError(
            N_("{name} has {width} x {height} pixels; at most {max_pixels} pixels in all are accepted"),
            name=name,
            width=width,
            height=height,
            max_pixels=max_pixels,
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _damaged(name) from error
    if image is None:
        raise _damaged(name)
    if image.dtype == np.uint16:
        image = (image // 256).astype(np.uint8)
    return check(image)


def encode(image: np.ndarray, format: str = "png", quality: int = 90) -> bytes:
    """Return ``image`` as the bytes of a file in ``format``.

    ``format`` is "png", without loss, or "jpeg" (also "jpg") of ``quality`` 1 to 100. JPEG has no
    transparency, so the alpha channel of a BGRA image is dropped. Raises `ImageError`.
    """
    import cv2

    image = check(image)
    if format == "png":
        suffix, options = ".png", []
    elif format in ("jpeg", "jpg"):
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise ImageError(
                N_("JPEG quality must be a whole number from 1 to 100, not {quality!r}"), quality=quality
            )
        suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
        if image.ndim == 3 and image.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    else:
        raise ImageError(N_("picture format {format!r} is unknown; known: png, jpeg"), format=format)
    try:
        done, data = cv2.imencode(suffix, image, options)
    except cv2.error as error:  # a side longer than the format allows
        raise _cannot_encode(image, format) from error
    if not done:
        raise _cannot_encode(image, format)
    encoded: bytes = data.tobytes()
    return encoded


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file at ``path``; raise `ImageError` if it cannot be read."""
    try:
        if not os.path.isfile(path):  # reading a pipe or a device could block or never end
            if not os.path.exists(path):
                raise ImageError(N_("{path} does not exist"), path=str(path))
            raise ImageError(N_("{path} is not a file"), path=str(path))
        size = os.path.getsize(path)
        if size > MAX_FILE_BYTES:
            raise ImageError(
                N_("{path} has {size} bytes; at most {limit} are accepted"),
                path=str(path),
                size=size,
                limit=MAX_FILE_BYTES,
            )
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(
            N_("{path} cannot be read: {reason}"), path=str(path), reason=error.strerror or str(error)
        ) from error


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the picture in the file at ``path`` as `decode` does; `ImageError` names the file."""
    return decode(read_bytes(path), name=str(path))


def write(path: str | os.PathLike[str], image: np.ndarray, quality: int = 90) -> None:
    """Write ``image`` to ``path``, in the format of its suffix (.png, .jpg, .jpeg), whole or not at all."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(N_("{path}: the name of a picture must end in .png, .jpg or .jpeg"), path=str(path))
    write_bytes(path, encode(image, suffix[1:], quality))


def write_bytes(path: str | os.PathLike[str], data: Buffer) -> None:
    """Write ``data`` to ``path``, whole or not at all: readers never meet half a file."""
    try:
        atomic_write(Path(path), data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_new_bytes(path: str | os.PathLike[str], data: Buffer) -> bool:
    """Write ``data`` to ``path`` if nothing has that name; return whether ``path`` now holds ``data``.

    True if it was written or a file with the same bytes was there already, False if anything else has the
    name: that stays as it is. Raises `ImageError` if nothing can be written there.
    """
    target = Path(path)
    try:
        if not os.path.lexists(target):
            with contextlib.suppress(FileExistsError):
                atomic_write_new(target, data)
                return True
        size = target.stat().st_size if target.is_file() else -1
        return size == len(data) and target.read_bytes() == data
    except FileNotFoundError as error:
        if os.path.lexists(target):  # a link that leads nowhere
            return False
        raise _cannot_write(path, error) from error
    except OSError as error:
        if os.path.lexists(target):  # something that cannot be read is another result
            return False
        raise _cannot_write(path, error) from error


def _cannot_write(path: str | os.PathLike[str], error: OSError) -> ImageError:
    return ImageError(
        N_("{path} cannot be written: {reason}"), path=str(path), reason=error.strerror or str(error)
    )


# --- the structure of a file --------------------------------------------------------------------------------


def _walk_png(data: bytes, name: str) -> tuple[int, int, bytes]:
    """Return width, height and the file reduced to its pixel chunks, after a walk to its end mark.

    A chunk is: length (4 bytes, big-endian), type (4), data, CRC-32 of type and data (4). IHDR comes first,
    IEND last.
    """
    if len(data) < 33:
        raise _truncated(name)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise _damaged(name)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    kept = [_PNG]
    at = len(_PNG)
    while True:
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(data) < max(end, at + 12):
            raise _truncated(name)
        if kind in _PNG_PIXEL_CHUNKS:
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise _damaged(name)
            kept.append(data[at:end])
        if kind == b"IEND":
            return width, height, b"".join(kept)
        at = end


def _walk_jpeg(data: bytes, name: str) -> tuple[int, int]:
    """Return width and height after a walk over the segments to the end mark.

    A segment is 0xFF, its kind, a length of 2 bytes (itself included), data; after a start of scan comes
    compressed data, up to the next marker. A preview picture inside a segment is skipped with the segment, so
    its end mark is not mistaken for the file's.
    """
    width = height = 0
    at = 2
    while True:
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            raise _truncated(name)
        at, kind = marker.end(), marker.group()[1]
        if kind == _JPEG_END:
            if not width:
                raise _damaged(name)
            return width, height
        length = int.from_bytes(data[at : at + 2], "big")
        if len(data) < at + max(length, 2):
            raise _truncated(name)
        if kind in _JPEG_START_OF_FRAME:
            # precision (1 byte), height (2), width (2)
            if length < 8 or width:
                raise _damaged(name)
            height, width = (
                int.from_bytes(data[at + 3 : at + 5], "big"),
                int.from_bytes(data[at + 5 : at + 7], "big"),
            )
        elif kind == _JPEG_START_OF_SCAN and not width:
            raise _damaged(name)
        at += max(length, 2)


def _truncated(name: str) -> ImageError:
    return ImageError(N_("{name} is truncated: the picture ends in the middle"), name=name)


def _damaged(name: str) -> ImageError:
    return ImageError(N_("{name} is damaged and cannot be decoded"), name=name)


def _cannot_encode(image: np.ndarray, format: str) -> ImageError:
    return ImageError(
        N_("a picture of shape {shape} cannot be stored as {format}"), shape=image.shape, format=format
    )
