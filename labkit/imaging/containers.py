"""A picture file's own description: size, frames, metadata; checked before anything is decoded.

`examine` looks at a PNG, JPEG, WebP, BMP, TIFF or GIF file without trusting it: whether it is whole, its
size, frames, bits a channel, and the metadata that results carry on. Pillow reads the structure, except:

* PNG is walked chunk by chunk. Pillow refuses a whole picture for one odd comment, and OpenCV prints a
  warning about each odd profile, which would spoil the live view. So only the chunks with pixels are decoded.
* The end of a JPEG file is looked for here, because the decoders do not miss it.
* The size of a WebP file is checked before Pillow makes room for the canvas.

Guarantee: `examine` returns a `Header` or raises `ImageError`. Damaged metadata is dropped, because the
pixels do not depend on it.

Source: PNG (third edition), sections 5 and 11; JPEG: ITU-T T.81, annex B; WebP: RFC 9649.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging import tiff
from labkit.imaging.decoders import ERRORS, by_opencv, by_pillow, pillow_errors, turned
from labkit.imaging.header import Header, check_size, damaged, truncated
from labkit.imaging.metadata import (
    CENTIMETRES,
    EXIF_TEXTS,
    PNG,
    Metadata,
    a_metre,
    exif_of_text,
    orientation,
    upright,
)

if TYPE_CHECKING:
    import numpy as np

JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_EXIF = b"Exif\0\0"
_JPEG_METADATA = (_EXIF, b"JFIF", b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"Adobe", b"FPXR\0")
_PNG_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_COLOUR_CHUNKS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP"})
_MOST_METADATA = 16 << 20
# Formats that classes use and the lab cannot read, by their first bytes.
_UNREADABLE = (
    (4, b"ftypheic", "HEIC"), (4, b"ftypheix", "HEIC"), (4, b"ftyphevc", "HEIC"), (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"), (4, b"ftypavif", "AVIF"), (4, b"ftypavis", "AVIF"), (0, b"%PDF-", "PDF"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"), (0, b"\xff\x0a", "JPEG XL"), (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"8BPS", "PSD"), (0, b"\0\0\1\0", "ICO"),
)  # fmt: skip


def examine(data: bytes, name: str, max_pixels: int) -> Header:
    """Return the header of the file ``data``; `ImageError` calls the picture ``name``."""
    if data.startswith(PNG):
        return _png(data, name, max_pixels)
    if data.startswith(JPEG):
        return _jpeg(data, name, max_pixels)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data, name, max_pixels)
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 13:
        return _gif(data, name, max_pixels)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0") and len(data) >= 16:
        return tiff.examine(data, name, max_pixels)
    if data[:2] == b"BM" and len(data) >= 26:
        return _bmp(data, name, max_pixels)
    for at, mark, format in _UNREADABLE:
        if data[at : at + len(mark)] == mark:
            raise ImageError(
                N_("{name} is a {format} file, which the lab cannot read; save it as JPEG or PNG"),
                name=name,
                format=format,
            )
    raise ImageError(N_("{name} is not a PNG or JPEG picture, nor WebP, BMP, TIFF or GIF"), name=name)


def _png(data: bytes, name: str, max_pixels: int) -> Header:
    """Walk a PNG file.

    A chunk is: length (4 bytes, big-endian), type (4), data, CRC-32 of type and data (4). IHDR comes first,
    IEND last.
    """
    if len(data) < 33:
        raise truncated(name)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise damaged(name)
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    check_size(width, height, name, max_pixels)
    icc = exif = exif_text = colour_chunks = b""
    density = transparent_grey = None
    frames = 1
    kept = [PNG]
    kind, at = b"", len(PNG)
    while kind != b"IEND":
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(data) < max(end, at + 12):
            raise truncated(name)
        if (
            kind in _PNG_PIXEL_CHUNKS
            or kind in _PNG_COLOUR_CHUNKS
            or kind in (b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"pHYs", b"acTL")
        ):
            is_whole = zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
            body = data[at + 8 : end - 4] if kind != b"IDAT" else b""
            if kind in _PNG_PIXEL_CHUNKS:
                if not is_whole:
                    raise damaged(name)
                if kind == b"tRNS" and colour == 0 and len(body) == 2:  # OpenCV would drop it
                    transparent_grey = int.from_bytes(body, "big")
                else:
                    kept.append(data[at:end])
            elif is_whole and kind in _PNG_COLOUR_CHUNKS:
                colour_chunks += data[at:end]
            elif is_whole and kind == b"iCCP":
                icc = _inflated(body)
            elif is_whole and kind == b"eXIf":
                exif = body.removeprefix(_EXIF)  # some programs write the signature of JPEG here too
            elif is_whole and kind in (b"tEXt", b"zTXt"):  # as programs wrote EXIF before eXIf was defined
                exif_text = exif_text or exif_of_text(body if kind == b"tEXt" else _inflated_text(body))
            elif is_whole and kind == b"pHYs" and len(body) == 9 and body[8] == 1:
                density = struct.unpack(">II", body[:8])
            elif is_whole and kind == b"acTL" and len(body) == 8:
                frames = int.from_bytes(body[:4], "big")
        at = end
    exif = exif or exif_text

    def pixels() -> np.ndarray:
        import cv2

        image = by_opencv(b"".join(kept), cv2.IMREAD_UNCHANGED, name)
        if transparent_grey is not None:
            image = _with_transparent_grey(image, transparent_grey, bits)
        return turned(image, orientation(exif))

    is_grey = colour == 0 and transparent_grey is None
    return Header(pixels, upright(Metadata(icc, exif, density, colour_chunks)), bits, frames, is_grey)


def _inflated_text(body: bytes) -> bytes:
    """Return a zTXt chunk of EXIF as the tEXt chunk that it stands for; empty for any other text."""
    name = body.partition(b"\0")[0]
    return name + b"\0" + _inflated(body) if name in EXIF_TEXTS else b""


def _inflated(body: bytes) -> bytes:
    """Return the data of an iCCP or zTXt chunk: a name, a zero, the method, compressed data."""
    _name, _zero, rest = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], _MOST_METADATA)
    except zlib.error:
        return b""


def _with_transparent_grey(image: np.ndarray, sample: int, bits: int) -> np.ndarray:
    """Return a grey picture as BGRA, transparent where it has the ``sample`` (of ``bits``) of its file."""
    import cv2
    import numpy as np

    if bits < 8:  # OpenCV has expanded the samples to 8 bits
        sample = sample * 255 // ((1 << bits) - 1)
    result = cv2.cvtColor(image, cv2.COLOR_GRAY2BGRA)
    result[:, :, 3] = np.where(image == sample, 0, np.iinfo(image.dtype).max)
    return result


def _jpeg(data: bytes, name: str, max_pixels: int) -> Header:
    from PIL.JpegImagePlugin import JpegImageFile

    file = io.BytesIO(data)
    try:
        with pillow_errors(name):
            try:
                image = JpegImageFile(file)
            except ERRORS:  # perhaps only the metadata is damaged: hide it from Pillow
                hidden = data
                for mark in _JPEG_METADATA:
                    hidden = hidden.replace(mark, bytes(len(mark)))
                file = io.BytesIO(hidden)
                image = JpegImageFile(file)
            scan_at = file.tell()
    except ImageError:
        raise damaged(name) if _JPEG_END in data else truncated(name) from None
    width, height = image.size
    check_size(width, height, name, max_pixels)
    # In the compressed data that follows, 0xFF stands only in marks.
    if data.find(_JPEG_END, scan_at) < 0:
        raise truncated(name)
    exif = image.info.get("exif", b"").removeprefix(_EXIF)
    across, down = image.info.get("jfif_density", (0, 0))
    density = a_metre(across, down, CENTIMETRES.get(image.info.get("jfif_unit", 0)))
    metadata = Metadata(image.info.get("icc_profile") or b"", exif, density)

    def pixels() -> np.ndarray:
        import cv2

        decoded = by_opencv(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION, name)
        return turned(decoded, orientation(exif))

    return Header(pixels, upright(metadata), is_grey=image.mode == "L")


def _webp(data: bytes, name: str, max_pixels: int) -> Header:
    from PIL.WebPImagePlugin import WebPImageFile

    if len(data) < 8 + int.from_bytes(data[4:8], "little") or len(data) < 30:
        raise truncated(name)
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        check_size(width, height, name, max_pixels)
    elif data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        check_size((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, name, max_pixels)
    else:
        across, down = struct.unpack("<HH", data[26:30])
        check_size(across & 0x3FFF, down & 0x3FFF, name, max_pixels)
    with pillow_errors(name):
        image = WebPImageFile(io.BytesIO(data))
        width, height = image.size
        check_size(width, height, name, max_pixels)
    exif = image.info.get("exif", b"").removeprefix(_EXIF)
    metadata = Metadata(image.info.get("icc_profile", b""), exif)

    def pixels() -> np.ndarray:
        import cv2

        return turned(by_opencv(data, cv2.IMREAD_UNCHANGED, name), orientation(exif))

    return Header(pixels, upright(metadata), frames=image.n_frames)


def _gif(data: bytes, name: str, max_pixels: int) -> Header:
    from PIL.GifImagePlugin import GifImageFile

    width, height = struct.unpack("<HH", data[6:10])
    check_size(width, height, name, max_pixels)
    with pillow_errors(name):
        image = GifImageFile(io.BytesIO(data))
        width, height = image.size
        check_size(width, height, name, max_pixels)
        frames = image.n_frames
    return Header(lambda: by_pillow(image, name), Metadata(), frames=frames)


def _bmp(data: bytes, name: str, max_pixels: int) -> Header:
    from PIL.BmpImagePlugin import BmpImageFile

    with pillow_errors(name):
        image = BmpImageFile(io.BytesIO(data))
        width, height = image.size
        check_size(width, height, name, max_pixels)
        across, down = image.info.get("dpi", (0, 0))
    return Header(lambda: by_pillow(image, name), Metadata(density=a_metre(across, down, 2.54)))
