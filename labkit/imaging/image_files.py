"""Pictures in and out: the bytes of picture files to arrays and back, without trusting the bytes.

An array is ``(height, width)`` grey, ``(height, width, 3)`` BGR or ``(height, width, 4)`` BGRA, uint8
or uint16 (of which white is 65535), in OpenCV's own order. The rules for bytes from outside:

1. The signature decides what a file is, never its name.
2. The size is read from the header and checked *before* anything is decoded. A file of a few hundred bytes
   may announce 60,000 x 60,000 pixels, for which a decoder would allocate gigabytes.
3. A file must be complete (PNG: with every checksum), so that half a download raises an error and is not
   shown as half a picture.

`labkit.imaging.containers` applies them.

Guarantee: `decode` returns an array as above or raises `ImageError`; `write` leaves the whole file or no
file.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError, LabkitError
from labkit.imaging import containers
from labkit.imaging.metadata import MOST_EXIF_IN_JPEG, Metadata, exif_of_result, insert
from labkit.support import pixels
from labkit.support.atomic_files import atomic_write, atomic_write_new

if TYPE_CHECKING:
    import numpy as np

Buffer = bytes | bytearray | memoryview

MAX_PIXELS = 25_000_000
"""Larger pictures are refused: 25 megapixels are more than a class needs, and a laptop can hold them."""
MAX_FILE_BYTES = 200_000_000
"""No PNG or JPEG of 25 megapixels is larger than its raw pixels at 16 bits and four channels."""

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Of pictures that can be written."""
READABLE = (*SUFFIXES, ".apng", ".jfif", ".jpe", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
"""Suffixes of pictures that a folder is searched for."""


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
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            N_("an image must have dtype uint8 (0 to 255) or uint16 (0 to 65535), not {dtype}"),
            dtype=str(image.dtype),
        )
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
    """Return the picture in ``data`` (the bytes of a PNG, JPEG, WebP, BMP, TIFF or GIF file) as an array.

    Grey stays ``(height, width)``, colour becomes BGR, with transparency BGRA. 16 bits a channel give uint16
    (`eight_bits` scales it), all others uint8. A photo that its camera marked as rotated is rotated
    upright. Of several frames the first is taken. Error messages call the picture ``name``.

    Raises `ImageError` if it has another format or more than ``max_pixels``, is truncated or damaged.
    """
    return decode_with_metadata(data, max_pixels=max_pixels, name=name)[0]


def decode_with_metadata(
    data: Buffer, *, max_pixels: int = MAX_PIXELS, name: str = "<image>"
) -> tuple[np.ndarray, Metadata]:
    """Return the picture as `decode` does, and what `encode` can carry on: colour profile, density, EXIF."""
    import numpy as np

    header = containers.examine(bytes(data), name, max_pixels)  # no copy if it is bytes already
    return check(np.ascontiguousarray(header.pixels())), header.metadata


def notes(data: Buffer, name: str, format: str = "png", strip: bool = False) -> list[PictureNote]:
    """Return what a result in ``format`` will not keep of the file ``data``, as sentences for the user.

    With ``strip``, EXIF is left out on purpose.
    """
    try:
        header = containers.examine(bytes(data), name, MAX_PIXELS)
    except ImageError:
        return []  # decoding reports it
    found = []
    if header.frames > 1:
        found.append(
            PictureNote(
                N_("{name} has {frames} frames; only the first is used"), name=name, frames=header.frames
            )
        )
    if header.bits == 16 and format != "png":
        found.append(
            PictureNote(
                N_("{name} has 16 bits a channel, JPEG stores 8: values are scaled; --format png keeps all"),
                name=name,
            )
        )
    if (
        format != "png"
        and not strip
        and len(exif := exif_of_result(header.metadata.exif, 1, 1)) > MOST_EXIF_IN_JPEG
    ):
        found.append(
            PictureNote(
                N_(
                    "{name} has {size} bytes of EXIF, too many for a JPEG: they are left out; "
                    "--format png keeps them"
                ),
                name=name,
                size=len(exif),
            )
        )
    space = header.metadata.icc[16:20].decode("latin-1").strip()
    if space.isalnum() and space != ("GRAY" if header.is_grey else "RGB"):
        found.append(
            PictureNote(
                N_("{name} has a colour profile for {space}, which its result does not keep"),
                name=name,
                space=space,
            )
        )
    return found


class PictureNote(LabkitError):
    """Something about a picture that its result does not keep. A remark: it is never raised."""


def eight_bits(image: np.ndarray) -> np.ndarray:
    """Return the picture as uint8; 16 bits are scaled, so that white stays white."""
    return pixels.eight_bits(image)


def flattened(image: np.ndarray, background: str = "white") -> np.ndarray:
    """Return the picture without transparency, laid on ``background``: a name or ``#rrggbb``.

    Raises `ImageError` for another colour.
    """
    return pixels.flattened(image, parse_colour(background))


COLOURS = {"white": "#ffffff", "black": "#000000", "grey": "#808080", "gray": "#808080",
           "red": "#ff0000", "green": "#008000", "blue": "#0000ff", "yellow": "#ffff00"}  # fmt: skip


def parse_colour(text: str) -> tuple[int, int, int]:
    """Return blue, green and red, 0 to 255, of a colour's name or ``#rrggbb``; else raise `ImageError`."""
    code = COLOURS.get(text.lower(), text) if isinstance(text, str) else ""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", code):
        raise ImageError(
            N_("colour {colour!r} is unknown; write #rrggbb or one of: {known}"),
            colour=text,
            known=", ".join(COLOURS),
        )
    red, green, blue = bytes.fromhex(code[1:])
    return blue, green, red


def encode(
    image: np.ndarray,
    format: str = "png",
    quality: int = 90,
    *,
    background: str = "white",
    metadata: Metadata | None = None,
) -> bytes:
    """Return ``image`` as the bytes of a file in ``format``.

    ``format`` is "png", without loss, or "jpeg" (also "jpg") of ``quality`` 1 to 100. JPEG has no
    transparency and 8 bits: a BGRA image is laid on ``background`` (`parse_colour`), 16 bits are scaled.
    ``metadata`` is written into the file. Raises `ImageError`.
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
        image = eight_bits(flattened(image, background))
    else:
        raise ImageError(N_("picture format {format!r} is unknown; known: png, jpeg"), format=format)
    try:
        done, data = cv2.imencode(suffix, image, options)
    except cv2.error as error:  # a side longer than the format allows
        raise _cannot_encode(image, format) from error
    if not done:
        raise _cannot_encode(image, format)
    encoded: bytes = data.tobytes()
    if metadata is None:
        return encoded
    return insert(encoded, metadata, image.shape[1], image.shape[0], grey=image.ndim == 2)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file at ``path``; raise `ImageError` if it cannot be read."""
    try:
        if not os.path.isfile(path):  # reading a pipe or a device could block or never end
            if not os.path.exists(path):
                if os.path.islink(path):
                    raise ImageError(N_("{path} is a link that leads nowhere"), path=str(path))
                raise ImageError(N_("{path} does not exist"), path=str(path))
            raise ImageError(N_("{path} is not a file"), path=str(path))
        size = os.path.getsize(path)
        if size == 0:
            raise ImageError(N_("{path} is empty"), path=str(path))
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


def _cannot_encode(image: np.ndarray, format: str) -> ImageError:
    return ImageError(
        N_("a picture of shape {shape} cannot be stored as {format}"), shape=image.shape, format=format
    )
