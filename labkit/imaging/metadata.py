"""What a result carries on from its file besides the pixels: colour profile, resolution, EXIF.

EXIF is changed in place, byte by byte. Pillow can write it anew, but then every letter outside ASCII becomes
a question mark, and the notes of cameras, which count from the beginning of the file, point nowhere.

OpenCV can write profile and EXIF, but no resolution, and it refuses the whole picture if a JPEG's profile is
larger than 64 KB or a PNG's is odd. So `insert` writes them.

Source: EXIF: CIPA DC-008 (a TIFF structure); PNG (third edition), section 11; JFIF 1.02; ICC.1, annex B.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
MOST_EXIF_IN_JPEG = 65_527
"""Bytes: a segment holds no more."""

_ORIENTATION, _EXIF, _PREVIEW, _PREVIEW_BYTES, _WIDTH, _HEIGHT = 0x112, 0x8769, 0x201, 0x202, 0xA002, 0xA003
_ACROSS, _DOWN, _UNIT = 0x11A, 0x11B, 0x128
CENTIMETRES = {1: 2.54, 2: 1.0}
"""Units of resolution in JFIF. In EXIF and TIFF the same two are 2 and 3."""
EXIF_TEXTS = (b"Raw profile type exif", b"Raw profile type APP1")
"""Names of text chunks in which ImageMagick and others keep EXIF in a PNG file, in hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a result carries on from its file besides the pixels; each part may be empty."""

    icc: bytes = b""
    """An ICC colour profile."""
    exif: bytes = b""
    """EXIF as a TIFF structure, without the ``Exif`` signature of JPEG."""
    density: tuple[int, int] | None = None
    """Pixels a metre, across and down."""
    colour_chunks: bytes = b""
    """PNG's own description of its colours, as whole chunks."""


def upright(metadata: Metadata) -> Metadata:
    """Return the metadata of the picture after it was turned upright: a quarter turn swaps the densities.

    A density that only EXIF knows is taken from there. EXIF itself still has the former orientation.
    """
    density = metadata.density or _density(metadata.exif)
    if density is not None and orientation(metadata.exif) >= 5:
        density = density[::-1]
    return Metadata(metadata.icc, metadata.exif, density, metadata.colour_chunks)


def a_metre(across: float, down: float, unit_cm: float | None) -> tuple[int, int] | None:
    """Return pixels a metre from pixels a unit, or None if the unit or the numbers say nothing."""
    if not unit_cm or not 0 < across < 10**6 or not 0 < down < 10**6:
        return None
    return round(across * 100 / unit_cm), round(down * 100 / unit_cm)


# --- EXIF ---------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    kind: int
    values: int
    place: int


def _read(exif: bytes) -> tuple[str, dict[int, _Entry], int]:
    """Return the byte order, the first directory, and where the link to the next one stands.

    Raises struct.error if the structure is damaged.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        raise struct.error("no TIFF structure")
    return order, *_directory(exif, struct.unpack_from(order + "I", exif, 4)[0], order)


def _directory(exif: bytes, at: int, order: str) -> tuple[dict[int, _Entry], int]:
    (rows,) = struct.unpack_from(order + "H", exif, at)
    entries: dict[int, _Entry] = {}
    for row in range(at + 2, at + 2 + 12 * rows, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, row)
        is_far = {3: 2, 4: 4, 5: 8}.get(kind, 1) * count > 4
        place = struct.unpack_from(order + "I", exif, row + 8)[0] if is_far else row + 8
        entries.setdefault(tag, _Entry(kind, count, place))  # of two, other readers take the first
    return entries, at + 2 + 12 * rows


def _number(exif: bytes, entry: _Entry | None, order: str) -> float:
    """Return the first value of an entry that holds numbers, or 0."""
    if entry is None or entry.kind not in (3, 4, 5):
        return 0
    values = struct.unpack_from(order + {3: "H", 4: "I", 5: "II"}[entry.kind], exif, entry.place)
    if entry.kind != 5:
        return int(values[0])
    return values[0] / values[1] if values[1] else 0


def orientation(exif: bytes) -> int:
    """Return the orientation in ``exif``, 1 (upright) to 8; 1 if there is none or it makes no sense."""
    try:
        order, entries, _link = _read(exif)
        found = int(_number(exif, entries.get(_ORIENTATION), order))
    except struct.error:
        return 1
    return found if found in range(1, 9) else 1


def exif_of_text(chunk: bytes) -> bytes:
    """Return the EXIF in a PNG's text chunk (``EXIF_TEXTS``), or b"" if it holds none.

    Behind the name and a zero stand three lines or more: the kind, the number of bytes, their digits.
    """
    name, _zero, text = chunk.partition(b"\0")
    if name not in EXIF_TEXTS:
        return b""
    try:
        _kind, _size, digits = text.strip(b"\n").split(b"\n", 2)
        data = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
    data = data.removeprefix(b"Exif\0\0")
    return data if data[:4] in (b"II*\0", b"MM\0*") else b""  # APP1 may hold XMP


def _density(exif: bytes) -> tuple[int, int] | None:
    try:
        order, entries, _link = _read(exif)
        across, down, unit = (_number(exif, entries.get(tag), order) for tag in (_ACROSS, _DOWN, _UNIT))
    except struct.error:
        return None
    return a_metre(across, down, CENTIMETRES.get(int(unit) - 1))


def exif_of_result(exif: bytes, width: int, height: int) -> bytes:
    """Return ``exif`` for a picture that stands upright and has this size, without its small preview.

    The preview would show the picture as it was before. Empty if the structure is damaged.
    """
    changed = bytearray(exif)
    try:
        order, entries, link = _read(exif)
        if any(entries[tag].kind != 5 for tag in (_ACROSS, _DOWN) if tag in entries):
            return b""  # Pillow, among others, would not open the result
        if preview := struct.unpack_from(order + "I", exif, link)[0]:
            struct.pack_into(order + "I", changed, link, 0)
        if _ORIENTATION in entries:
            kind = "I" if entries[_ORIENTATION].kind == 4 else "H"
            struct.pack_into(order + kind, changed, entries[_ORIENTATION].place, 1)
        if inner_at := int(_number(exif, entries.get(_EXIF), order)):
            inner, _link = _directory(exif, inner_at, order)
            for tag, side in ((_WIDTH, width), (_HEIGHT, height)):
                if tag in inner and inner[tag].values == 1 and inner[tag].kind in (3, 4):
                    struct.pack_into(
                        order + {3: "H", 4: "I"}[inner[tag].kind], changed, inner[tag].place, side
                    )
    except struct.error:
        return b""
    if preview:
        _erase_preview(exif, preview, order, changed)
    return bytes(changed)


def _erase_preview(exif: bytes, at: int, order: str, changed: bytearray) -> None:
    """Remove the preview at the end of ``changed``, where cameras put it; elsewhere, write zeros over it."""
    try:
        entries, _link = _directory(exif, at, order)
        start, size = (int(_number(exif, entries.get(tag), order)) for tag in (_PREVIEW, _PREVIEW_BYTES))
    except struct.error:
        return
    if not 8 < start < start + size <= len(changed):
        return
    if start + size == len(changed):
        del changed[start:]
    else:
        changed[start : start + size] = bytes(size)


# --- writing ------------------------------------------------------------------------------------------------


def insert(encoded: bytes, metadata: Metadata, width: int, height: int, grey: bool) -> bytes:
    """Return an encoded PNG or JPEG with ``metadata`` in it.

    A colour profile for another kind of colours than the picture has (CMYK, or grey for a coloured one) would
    be wrong and is left out, as EXIF is that does not fit into a JPEG.
    """
    icc = metadata.icc if metadata.icc[16:20] == (b"GRAY" if grey else b"RGB ") else b""
    exif = exif_of_result(metadata.exif, width, height)
    if encoded.startswith(PNG):
        extra = _chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc)) if icc else metadata.colour_chunks
        if metadata.density:
            extra += _chunk(b"pHYs", struct.pack(">IIB", *metadata.density, 1))
        if exif:
            extra += _chunk(b"eXIf", exif)
        return encoded[:33] + extra + encoded[33:]
    at = 2
    if encoded[2:4] == b"\xff\xe0":  # JFIF, which OpenCV writes first
        at = 4 + int.from_bytes(encoded[4:6], "big")
        if metadata.density:
            dots = (max(1, min(65535, round(each * 0.0254))) for each in metadata.density)
            encoded = encoded[:13] + struct.pack(">BHH", 1, *dots) + encoded[18:]
    extra = b""
    if exif and len(exif) <= MOST_EXIF_IN_JPEG:
        extra += _segment(0xE1, b"Exif\0\0" + exif)
    parts = [icc[start : start + 65_500] for start in range(0, len(icc), 65_500)]
    if len(parts) <= 255:
        for number, part in enumerate(parts, 1):
            extra += _segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)
    return encoded[:at] + extra + encoded[at:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body
