"""What a picture file says about itself, read from its structure before anything is decoded.

`examine` walks a PNG, JPEG, WebP, BMP, TIFF or GIF file to its end, without trusting it: sizes, frames, bits
a channel, and the metadata that results carry on. `insert` puts metadata into an encoded PNG or JPEG.

Guarantee: `examine` returns a `Header` or raises `ImageError`. Damaged metadata is dropped, because the
pixels do not depend on it.

Source: PNG (third edition), sections 5 and 11; JPEG: ITU-T T.81, annex B; EXIF: CIPA DC-008; WebP: RFC 9649;
TIFF 6.0; GIF89a; ICC.1, annex B.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field, replace

from labkit.core.errors import N_, ImageError

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# The chunks that carry pixels and palette. Everything else (colour profiles, comments, animation) is dropped
# before decoding: libpng prints a warning on stderr for each profile that it finds odd, and would spoil the
# live view.
_PNG_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_COLOUR_CHUNKS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP"})
# In JPEG's compressed data 0xFF is followed by 0x00 (a plain 0xFF), a restart mark or padding; anything else
# is a marker.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
_JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END, _JPEG_START_OF_SCAN = 0xD9, 0xDA
_MOST_METADATA = 16 << 20
_MOST_PAGES = 1000


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


@dataclass(slots=True)
class Header:
    """The structure of a file: what to decode, and what is known about it."""

    kind: str
    width: int
    height: int
    data: bytes
    bits: int = 8
    frames: int = 1
    transparent_grey: int | None = None
    """PNG: the grey sample that means transparent."""
    inks: bool = False
    """TIFF: cyan, magenta, yellow and black, which must not be taken for blue, green, red and alpha."""
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 (upright) to 8. OpenCV turns TIFF files by itself."""
        return 1 if self.kind == "tiff" else orientation(self.metadata.exif)


def examine(data: bytes, name: str) -> Header:
    """Return what the file ``data`` says about itself; `ImageError` calls the picture ``name``."""
    try:
        if data.startswith(PNG):
            return _png(data, name)
        if data.startswith(JPEG):
            return _jpeg(data, name)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data, name)
        if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 13:
            return _gif(data, name)
        if data[:4] in (b"II*\0", b"MM\0*") and len(data) >= 8:
            return _tiff(data, name)
        if data[:2] == b"BM" and len(data) >= 26:
            return _bmp(data, name)
    except (struct.error, IndexError) as error:  # a field beyond the end
        raise truncated(name) from error
    raise ImageError(N_("{name} is not a PNG or JPEG picture, nor WebP, BMP, TIFF or GIF"), name=name)


def truncated(name: str) -> ImageError:
    """Return the error about a picture that ends too early."""
    return ImageError(N_("{name} is truncated: the picture ends in the middle"), name=name)


def damaged(name: str) -> ImageError:
    """Return the error about a picture with a wrong structure."""
    return ImageError(N_("{name} is damaged and cannot be decoded"), name=name)


# --- the structure of each format ---------------------------------------------------------------------------


def _png(data: bytes, name: str) -> Header:
    """Walk a PNG file.

    A chunk is: length (4 bytes, big-endian), type (4), data, CRC-32 of type and data (4). IHDR comes first,
    IEND last.
    """
    if len(data) < 33:
        raise truncated(name)
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise damaged(name)
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    header = Header("png", width, height, b"", bits=bits)
    icc = exif = colour_chunks = b""
    density = None
    kept = [PNG]
    at = len(PNG)
    while True:
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(data) < max(end, at + 12):
            raise truncated(name)
        body = data[at + 8 : end - 4] if kind not in (b"IDAT", b"fdAT") else b""
        whole = True
        if kind in _PNG_PIXEL_CHUNKS or kind in _PNG_COLOUR_CHUNKS or kind in (b"iCCP", b"eXIf", b"pHYs"):
            whole = zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        if kind in _PNG_PIXEL_CHUNKS:
            if not whole:
                raise damaged(name)
            if kind == b"tRNS" and colour == 0 and len(body) == 2:  # OpenCV would drop it
                header.transparent_grey = int.from_bytes(body, "big")
            else:
                kept.append(data[at:end])
        elif whole and kind in _PNG_COLOUR_CHUNKS:
            colour_chunks += data[at:end]
        elif whole and kind == b"iCCP":
            icc = _inflated(body)
        elif whole and kind == b"eXIf":
            exif = body
        elif whole and kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            density = struct.unpack(">II", body[:8])
        elif kind == b"acTL" and len(body) == 8:
            header.frames = int.from_bytes(body[:4], "big")
        if kind == b"IEND":
            header.data = b"".join(kept)
            header.metadata = Metadata(icc, exif, density, colour_chunks)
            return header
        at = end


def _inflated(body: bytes) -> bytes:
    """Return the profile in an iCCP chunk: a name, a zero, the method, compressed data."""
    _name, _zero, rest = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], _MOST_METADATA)
    except zlib.error:
        return b""


def _jpeg(data: bytes, name: str) -> Header:
    """Walk a JPEG file.

    A segment is 0xFF, its kind, a length of 2 bytes (itself included), data; after a start of scan comes
    compressed data, up to the next marker. A preview picture inside a segment is skipped with the segment, so
    its end mark is not mistaken for the file's.
    """
    width = height = 0
    exif = b""
    profile: dict[int, bytes] = {}
    density = None
    at = 2
    while True:
        marker = _JPEG_MARKER.search(data, at)
        if marker is None:
            raise truncated(name)
        at, kind = marker.end(), marker.group()[1]
        if kind == _JPEG_END:
            if not width:
                raise damaged(name)
            icc = b"".join(profile[number] for number in sorted(profile))
            return Header("jpeg", width, height, data, metadata=Metadata(icc, exif, density))
        length = int.from_bytes(data[at : at + 2], "big")
        if len(data) < at + max(length, 2):
            raise truncated(name)
        body = data[at + 2 : at + max(length, 2)]
        if kind in _JPEG_START_OF_FRAME:
            # precision (1 byte), height (2), width (2)
            if length < 8 or width:
                raise damaged(name)
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        elif kind == _JPEG_START_OF_SCAN and not width:
            raise damaged(name)
        elif kind == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 12:
            unit, across, down = struct.unpack(">BHH", body[7:12])
            density = _a_metre(across, down, {1: 2.54, 2: 1.0}.get(unit))
        elif kind == 0xE1 and body[:6] == b"Exif\0\0" and not exif:
            exif = body[6:]
        elif kind == 0xE2 and body[:12] == b"ICC_PROFILE\0" and len(body) > 14:
            profile[body[12]] = body[14:]
        at += max(length, 2)


def _a_metre(across: float, down: float, unit_cm: float | None) -> tuple[int, int] | None:
    """Return pixels a metre from pixels a unit, or None if the unit or the numbers say nothing."""
    if not unit_cm or not 0 < across < 10**6 or not 0 < down < 10**6:
        return None
    return round(across * 100 / unit_cm), round(down * 100 / unit_cm)


def _webp(data: bytes, name: str) -> Header:
    """Walk a WebP file: RIFF chunks of type (4 bytes), length (4, little-endian), data, padded to even."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < end:
        raise truncated(name)
    header = Header("webp", 0, 0, data)
    icc = exif = b""
    frames = 0
    at = 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if at + 8 + length > end:
            raise truncated(name)
        size = (0, 0)
        if kind == b"VP8X":
            size = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
        elif kind == b"VP8 ":
            across, down = struct.unpack("<HH", body[6:10])
            size = across & 0x3FFF, down & 0x3FFF
        elif kind == b"VP8L":
            packed = int.from_bytes(body[1:5], "little")
            size = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"ICCP":
            icc = body
        elif kind == b"EXIF":
            exif = body.removeprefix(b"Exif\0\0")
        header.width, header.height = max(header.width, size[0]), max(header.height, size[1])
        at += 8 + length + length % 2
    header.frames = max(1, frames)
    header.metadata = Metadata(icc, exif)
    return header


def _gif(data: bytes, name: str) -> Header:
    """Walk a GIF file: blocks of sub-blocks, each with its length in one byte, to the trailer."""
    width, height, flags = struct.unpack("<HHB", data[6:11])
    header = Header("gif", width, height, data, frames=0)
    at = 13 + _colour_table(flags)
    while True:
        kind = data[at]
        if kind == 0x3B:
            if not header.frames:
                raise damaged(name)
            return header
        if kind == 0x2C:
            left, top, across, down, flags = struct.unpack("<HHHHB", data[at + 1 : at + 10])
            if left + across > width or top + down > height:
                raise damaged(name)
            header.frames += 1
            at += 11 + _colour_table(flags)
        elif kind == 0x21:
            at += 2
        else:
            raise damaged(name)
        while data[at]:
            at += 1 + data[at]
        at += 1


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes, name: str) -> Header:
    """Read a BMP file's header; uncompressed pixels must be there in full."""
    start, size = struct.unpack("<II", data[10:18])
    compression, density = 0, None
    if size == 12:
        width, height, _planes, bits = struct.unpack("<HHHH", data[18:26])
    else:
        width, height, _planes, bits, compression = struct.unpack("<iiHHI", data[18:34])
        across, down = struct.unpack("<ii", data[38:46])
        density = _a_metre(across / 100, down / 100, 1.0)
        height = abs(height)
    if width <= 0:
        raise damaged(name)
    if compression in (0, 3, 6) and len(data) < start + (width * bits + 31) // 32 * 4 * height:
        raise truncated(name)
    return Header("bmp", width, height, data, metadata=Metadata(density=density))


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def _entries(data: bytes, at: int, order: str) -> tuple[dict[int, tuple[int, int, int]], int]:
    """Return a directory's entries, tag -> (type, count, place of the value), and the place of its link."""
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = {}
    for number in range(count):
        tag, kind, values = struct.unpack_from(order + "HHI", data, at + 2 + 12 * number)
        place = at + 2 + 12 * number + 8
        if _TIFF_SIZES.get(kind, 1) * values > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        entries[tag] = kind, values, place
    return entries, at + 2 + 12 * count


def _numbers(data: bytes, entry: tuple[int, int, int] | None, order: str) -> tuple[float, ...]:
    """Return the values of an entry that holds numbers."""
    if entry is None:
        return ()
    kind, count, place = entry
    letter = {1: "B", 3: "H", 4: "I", 5: "II"}.get(kind)
    if letter is None or place + _TIFF_SIZES[kind] * count > len(data):
        return ()
    found = struct.unpack_from(order + letter * count, data, place)
    if kind == 5:
        pairs = zip(found[::2], found[1::2], strict=True)
        return tuple(above / below if below else 0.0 for above, below in pairs)
    return found


def _tiff(data: bytes, name: str) -> Header:
    """Walk a TIFF file: the first page's directory, its strips or tiles, and the chain of pages."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    entries, link = _entries(data, at, order)

    def values(tag: int) -> tuple[float, ...]:
        return _numbers(data, entries.get(tag), order)

    def first(tag: int, default: int) -> int:
        return int((values(tag) or (default,))[0])

    width, height, bits = first(256, 0), first(257, 0), max(values(258) or (1,))
    if bits > 16 or first(339, 1) != 1:
        raise ImageError(
            N_("{name} stores {bits} bits or fractions a channel; 8 or 16 whole bits are accepted"),
            name=name,
            bits=int(bits),
        )
    if first(322, 0) * first(323, 0) > 16 * max(width * height, 1 << 16):
        raise damaged(name)  # a tile far larger than the picture
    starts, sizes = values(273) or values(324), values(279) or values(325)
    if not starts or len(starts) != len(sizes):
        raise damaged(name)
    if any(start + size > len(data) for start, size in zip(starts, sizes, strict=True)):
        raise truncated(name)
    pages, seen = 1, {at}
    while pages < _MOST_PAGES:
        (at,) = struct.unpack_from(order + "I", data, link)
        if at == 0 or at in seen:
            break
        seen.add(at)
        _page, link = _entries(data, at, order)
        pages += 1
    profile = entries.get(34675)
    icc = data[profile[2] : profile[2] + profile[1]] if profile and profile[1] > 128 else b""
    across, down = ((values(tag) or (0,))[0] for tag in (282, 283))
    density = _a_metre(across, down, {2: 2.54, 3: 1.0}.get(first(296, 2)))
    return Header(
        "tiff",
        width,
        height,
        data,
        bits=int(bits),
        frames=pages,
        inks=first(262, 0) == 5,
        metadata=Metadata(icc, _exif_of_tiff(data, entries, order), density),
    )


# --- metadata -----------------------------------------------------------------------------------------------

_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""TIFF's tags for people: description, make, model, software, date, artist, copyright."""


def _exif_of_tiff(data: bytes, entries: dict[int, tuple[int, int, int]], order: str) -> bytes:
    """Return the texts of a TIFF file and its EXIF directory as a structure of their own."""
    out = {tag: entries[tag] for tag in _TEXTS if tag in entries and entries[tag][0] == 2}
    try:
        inner: dict[int, tuple[int, int, int]] = {}
        if pointer := _numbers(data, entries.get(34665), order):
            inner, _link = _entries(data, int(pointer[0]), order)
            inner = {tag: each for tag, each in inner.items() if tag not in (0x927C, 0xA005)}
    except struct.error:
        inner = {}
    if not out and not inner:
        return b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = _directory(data, out, order, 8, with_pointer=bool(inner))
    if not inner:
        return head + first
    return head + first + _directory(data, inner, order, 8 + len(first))


def _directory(
    data: bytes, entries: dict[int, tuple[int, int, int]], order: str, at: int, with_pointer: bool = False
) -> bytes:
    """Return a directory for place ``at``, its values behind it, and a pointer to what follows."""
    found = {}
    for tag, (kind, count, place) in entries.items():
        size = _TIFF_SIZES.get(kind, 1) * count
        if size <= _MOST_METADATA and place + size <= len(data):
            found[tag] = kind, count, data[place : place + size]
    rows = len(found) + with_pointer
    behind = at + 2 + 12 * rows + 4
    values = b""
    table = []
    for tag, (kind, count, value) in found.items():
        if len(value) <= 4:
            table.append((tag, struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")))
        else:
            table.append((tag, struct.pack(order + "HHII", tag, kind, count, behind + len(values))))
            values += value + b"\0" * (len(value) % 2)
    if with_pointer:
        table.append((34665, struct.pack(order + "HHII", 34665, 4, 1, behind + len(values))))
    listed = b"".join(row for _tag, row in sorted(table))
    return struct.pack(order + "H", rows) + listed + bytes(4) + values


def _byte_order(exif: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])


def orientation(exif: bytes) -> int:
    """Return the orientation in ``exif``, 1 to 8; 1 if there is none or it makes no sense."""
    order = _byte_order(exif)
    if order is None:
        return 1
    try:
        entries, _link = _entries(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
        found = _numbers(exif, entries.get(0x112), order)
    except struct.error:
        return 1
    return int(found[0]) if found and found[0] in range(1, 9) else 1


def upright(exif: bytes, width: int, height: int) -> bytes:
    """Return ``exif`` for a picture that stands upright and has this size, without its small preview.

    The preview would show the picture as it was before. Empty if the structure is damaged.
    """
    order = _byte_order(exif)
    if order is None:
        return b""
    changed = bytearray(exif)
    try:
        entries, link = _entries(exif, struct.unpack_from(order + "I", exif, 4)[0], order)
        (preview,) = struct.unpack_from(order + "I", exif, link)
        struct.pack_into(order + "I", changed, link, 0)
        if preview:
            try:
                small, _link = _entries(exif, preview, order)
                place, size = (_numbers(exif, small.get(tag), order) for tag in (0x201, 0x202))
                if place and size:
                    start, end = int(place[0]), min(len(changed), int(place[0] + size[0]))
                    changed[start:end] = bytes(max(0, end - start))
            except struct.error:
                pass
        if 0x112 in entries:
            struct.pack_into(order + "H", changed, entries[0x112][2], 1)
        if pointer := _numbers(exif, entries.get(0x8769), order):
            inner, _link = _entries(exif, int(pointer[0]), order)
            for tag, side in ((0xA002, width), (0xA003, height)):
                if tag in inner and inner[tag][1] == 1 and inner[tag][0] in (3, 4):
                    struct.pack_into(
                        order + ("H" if inner[tag][0] == 3 else "I"), changed, inner[tag][2], side
                    )
    except struct.error:
        return b""
    return bytes(changed)


def turned(metadata: Metadata, orientation: int) -> Metadata:
    """Return the metadata of the picture after it was turned upright: a quarter turn swaps the densities."""
    if metadata.density is None or orientation < 5:
        return metadata
    return replace(metadata, density=metadata.density[::-1])


def insert(encoded: bytes, metadata: Metadata, width: int, height: int, grey: bool) -> bytes:
    """Return an encoded PNG or JPEG with ``metadata`` in it.

    A colour profile for another kind of colours than the picture has (CMYK, or grey for a coloured one) would
    be wrong and is left out.
    """
    icc = metadata.icc if metadata.icc[16:20] == (b"GRAY" if grey else b"RGB ") else b""
    exif = upright(metadata.exif, width, height)
    if encoded.startswith(PNG):
        extra = b""
        if icc:
            extra += _chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
        else:
            extra += metadata.colour_chunks
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
    if exif and len(exif) <= 65_527:
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
