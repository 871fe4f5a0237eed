"""Kinds of picture files that are easy to read wrongly; tifffile and Pillow say what is in them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin

from labkit.core.errors import ImageError
from labkit.imaging.filters import parse_steps
from labkit.imaging.image_files import decode, notes
from labkit.jobs import process_encoded
from tests.unit.imaging.test_image_files import chunk, png, segment

NOTHING = parse_steps(["blur"], {"blur": {"radius": 0}})
SHAPE = (13, 21)
GREY = (np.arange(13)[:, None] * 19 + np.arange(21)).astype(np.uint8)
ALPHA = (np.arange(21) * 12).astype(np.uint8)[None, :].repeat(13, 0)
RGB = np.dstack([GREY, GREY[::-1], ALPHA])
FULL = np.full(SHAPE, 255, np.uint8)


def deep(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


def tiff(image: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def saved(image: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def reopened(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))


def as_rgba(image: np.ndarray) -> np.ndarray:
    """Return what labkit decoded as RGBA, in its own depth."""
    if image.ndim == 2:
        image = np.dstack([image] * 3)
    if image.shape[2] == 3:
        image = np.dstack([image, np.full(image.shape[:2], np.iinfo(image.dtype).max, image.dtype)])
    return image[:, :, [2, 1, 0, 3]]


# --- TIFF ---------------------------------------------------------------------------------------------------

GREY_ALPHA = {"photometric": "minisblack", "planarconfig": "contig"}


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        (np.dstack([GREY, ALPHA]), GREY_ALPHA | {"extrasamples": ["unassalpha"]}, (GREY, GREY, GREY, ALPHA)),
        (GREY, {"photometric": "miniswhite"}, (255 - GREY, 255 - GREY, 255 - GREY, FULL)),
        (np.dstack([RGB, ALPHA]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, (RGB, ALPHA)),
        (np.dstack([RGB, ALPHA]), {"photometric": "rgb", "extrasamples": ["unspecified"]}, (RGB, FULL)),
        (RGB.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, (RGB, FULL)),
        (RGB, {"photometric": "rgb", "byteorder": ">"}, (RGB, FULL)),
        (RGB, {"photometric": "rgb", "bigtiff": True}, (RGB, FULL)),
        (RGB, {"photometric": "rgb", "compression": "zlib", "predictor": True}, (RGB, FULL)),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_kind_of_tiff_is_read_right(
    stored: np.ndarray, options: dict[str, Any], expected: tuple[np.ndarray, ...], bits: int
) -> None:
    given, wanted = (deep(stored), deep(np.dstack(expected))) if bits == 16 else (stored, np.dstack(expected))
    image = decode(tiff(given, **options))
    assert image.dtype == wanted.dtype
    assert np.array_equal(as_rgba(image), wanted)


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_multiplied_by_alpha_are_divided_again(bits: int) -> None:
    alpha = np.full(SHAPE, 128, np.uint8)
    given = np.dstack([RGB // 2, alpha])
    image = as_rgba(
        decode(tiff(deep(given) if bits == 16 else given, photometric="rgb", extrasamples=["assocalpha"]))
    )
    scale = 257 if bits == 16 else 1
    assert np.array_equal(image[:, :, 3], alpha.astype(int) * scale)
    assert np.abs(image[:, :, :3] / scale - (RGB // 2) * (255 / 128)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_decoder_of_tiff_turns_it_upright(bits: int, photometric: str, orientation: int) -> None:
    stored = GREY if photometric == "minisblack" else 255 - GREY
    data = tiff(
        deep(stored) if bits == 16 else stored,
        photometric=photometric,
        extratags=[(274, 3, 1, orientation, True)],
        resolution=(300, 150),
        resolutionunit="INCH",
    )
    turned = (GREY, GREY[:, ::-1], GREY[::-1, ::-1], GREY[::-1],
              GREY.T, np.rot90(GREY, -1), GREY[::-1, ::-1].T, np.rot90(GREY))  # fmt: skip
    assert np.array_equal(decode(data) // (257 if bits == 16 else 1), turned[orientation - 1])
    across, down = reopened(process_encoded(data, NOTHING)).info["dpi"]
    assert (round(across), round(down)) == ((150, 300) if orientation >= 5 else (300, 150))


def test_a_tiff_in_tiles_is_read() -> None:
    whole = np.kron(RGB, np.ones((4, 4, 1), np.uint8))
    assert np.array_equal(decode(tiff(whole, photometric="rgb", tile=(16, 16)))[:, :, ::-1], whole)


def test_inks_of_sixteen_bits_become_colours() -> None:
    inks = np.zeros((*SHAPE, 4), np.uint16)
    inks[:, :, 0] = 65535  # cyan
    assert decode(tiff(inks, photometric="separated"))[0, 0].tolist() == [65535, 65535, 0]


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (np.float32, "32 bits or fractions"),
        (np.uint32, "32 bits"),
        (np.int16, "below zero"),
        (np.int8, "below zero"),
    ],
)
def test_other_numbers_are_refused_in_a_sentence(dtype: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=rf"x\.tif stores .*{reason}"):
        decode(tiff((GREY // 2).astype(dtype)), name="x.tif")


def test_a_strip_that_inflates_without_end_is_refused() -> None:
    whole = bytearray(tiff(deep(GREY), photometric="miniswhite", compression="zlib"))
    bomb = zlib.compress(bytes(50 << 20))
    with tifffile.TiffFile(io.BytesIO(bytes(whole))) as file:
        tags = file.pages.first.tags
        struct.pack_into("<I", whole, tags["StripOffsets"].valueoffset, len(whole))
        struct.pack_into("<I", whole, tags["StripByteCounts"].valueoffset, len(bomb))
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(whole) + bomb)


def test_a_chain_of_pages_that_bites_its_tail_ends() -> None:
    data = bytearray(tiff(GREY, photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        page = file.pages.first
        struct.pack_into("<I", data, page.offset + 2 + 12 * len(page.tags), page.offset)
    assert np.array_equal(decode(bytes(data)), GREY)
    assert notes(bytes(data), "x") == []


# --- BMP ----------------------------------------------------------------------------------------------------


def bmp(
    bits: int, rows: bytes, height: int, compression: int = 0, size: int = 40, masks: bytes = b""
) -> bytes:
    """A BMP file by hand, 21 pixels wide, at 300 dots an inch."""
    info = struct.pack("<IiiHHIIiiII", size, 21, height, 1, bits, compression, len(rows), 11811, 11811, 0, 0)
    head = (info + masks).ljust(max(size, 40 + len(masks)), b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def rows(image: np.ndarray, upside_down: bool = True) -> bytes:
    lines = [line.tobytes() for line in (image[::-1] if upside_down else image)]
    return b"".join(line + bytes(-len(line) % 4) for line in lines)


BGR = RGB[:, :, ::-1]
MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
WHITE_555 = np.full(SHAPE, 0x7FFF, "<u2")
OS2 = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 21, 13, 1, 24)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bmp(24, rows(BGR), 13), (RGB, FULL)),
        (bmp(24, rows(BGR, False), -13), (RGB, FULL)),
        (bmp(32, rows(np.dstack([BGR, FULL * 0])), 13), (RGB, FULL)),
        (bmp(32, rows(np.dstack([BGR, FULL * 0])), 13, 3, masks=MASKS), (RGB, FULL)),
        (bmp(32, rows(np.dstack([BGR, ALPHA])), 13, 3, 108, MASKS + b"\0\0\0\xff"), (RGB, ALPHA)),
        (bmp(32, rows(np.dstack([BGR, ALPHA]), False), -13, 3, 124, MASKS + b"\0\0\0\xff"), (RGB, ALPHA)),
        (bmp(16, rows(WHITE_555), 13), (FULL, FULL, FULL, FULL)),
        (OS2 + rows(BGR), (RGB, FULL)),
    ],
)
def test_every_kind_of_bmp_is_read_right(data: bytes, expected: tuple[np.ndarray, ...]) -> None:
    assert np.array_equal(as_rgba(decode(data)), np.dstack(expected))
    with pytest.raises(ImageError, match="truncated"):
        decode(data[:-40])


def test_a_bmp_of_one_bit_has_the_colours_of_its_palette() -> None:
    for black_and_white in (True, False):
        image = Image.fromarray(ALPHA).convert("1" if black_and_white else "P")
        assert np.array_equal(
            as_rgba(decode(saved(image, "BMP")))[:, :, :3], np.asarray(image.convert("RGB"))
        )


# --- GIF, WebP, JPEG ----------------------------------------------------------------------------------------


def test_a_gif_whose_frame_is_larger_than_its_screen_is_read() -> None:
    data = bytearray(saved(Image.fromarray(RGB).quantize(32), "GIF"))
    struct.pack_into("<HH", data, 6, 10, 5)
    assert decode(bytes(data)).shape == (*SHAPE, 3)


def test_the_size_of_a_webp_is_checked_before_the_canvas_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import WebPImagePlugin

    monkeypatch.setattr(WebPImagePlugin, "WebPImageFile", lambda *_: pytest.fail("opened"))
    data = bytearray(
        saved(np.dstack([RGB, ALPHA]), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", lossless=True)
    )
    assert data[12:16] == b"VP8X"
    data[24:30] = (59_999).to_bytes(3, "little") * 2
    with pytest.raises(ImageError, match="60000 x 60000"):
        decode(bytes(data))


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_is_read_right(mode: str, progressive: bool) -> None:
    large = Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))).convert(mode)
    data = saved(large, "JPEG", progressive=progressive)
    expected = np.asarray(reopened(data).convert("RGB")).astype(int)
    assert np.abs(as_rgba(decode(data))[:, :, :3] - expected).max() <= 2


@pytest.mark.parametrize(
    ("start", "format"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS", "PSD"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
    ],
)
def test_a_format_that_cannot_be_read_is_called_by_its_name(start: bytes, format: str) -> None:
    with pytest.raises(ImageError, match=rf"cat\.jpg is a {format} file.*save it as JPEG or PNG"):
        decode(start + bytes(100), name="cat.jpg")


# --- metadata -----------------------------------------------------------------------------------------------

NAME = "Íñigo Muñoz".encode()


def exif(
    *, artist: bytes = b"", resolution: bool = False, preview: bytes = b"", orientation: int = 1
) -> bytes:
    """A small EXIF structure by hand, little-endian."""
    entries = [(0x112, 3, 1, struct.pack("<HH", orientation, 0))]
    if resolution:
        entries += [(0x11A, 5, 1, struct.pack("<II", 300, 1)), (0x11B, 5, 1, struct.pack("<II", 150, 1)),
                    (0x128, 3, 1, struct.pack("<HH", 2, 0))]  # fmt: skip
    if artist:
        entries.append((0x13B, 2, len(artist) + 1, artist + b"\0"))
    table, values = b"", b""
    behind = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place, values = struct.pack("<I", behind + len(values)), values + value
        table += struct.pack("<HHI", tag, kind, count) + place
    link = behind + len(values) if preview else 0
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", link) + values
    if preview:
        inner = [(0x201, 4, 1, len(data) + 2 + 24 + 4), (0x202, 4, 1, len(preview))]
        data += (
            struct.pack("<H", 2)
            + b"".join(struct.pack("<HHII", *each) for each in inner)
            + bytes(4)
            + preview
        )
    return data


@pytest.mark.parametrize("target", ["png", "jpeg"])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_letters_beyond_ascii_in_exif_are_kept(format: str, target: str) -> None:
    data = saved(RGB, format, exif=b"Exif\0\0" + exif(artist=NAME))
    assert NAME in process_encoded(data, NOTHING, target)


@pytest.mark.parametrize("target", ["png", "jpeg"])
def test_letters_beyond_ascii_and_the_place_of_a_tiff_are_kept(target: str) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, kind, value in (
        (315, 2, NAME),
        (0x8825, 4, {1: "S", 2: (33.0, 26.0, 0.0)}),
        (0x8769, 4, {0x9003: "2026:11:29 12:00:00"}),
    ):
        tags.tagtype[tag] = kind
        tags[tag] = value
    data = saved(RGB, "TIFF", tiffinfo=tags)
    result = process_encoded(data, NOTHING, target)
    kept = reopened(result).getexif()
    assert NAME in result
    assert kept.get_ifd(0x8825)[2] == (33.0, 26.0, 0.0)
    assert kept.get_ifd(0x8769)[0x9003] == "2026:11:29 12:00:00"


@pytest.mark.parametrize("target", ["png", "jpeg"])
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_resolution_that_only_exif_has_outlives_it(format: str, target: str, orientation: int) -> None:
    data = saved(RGB, format, exif=b"Exif\0\0" + exif(resolution=True, orientation=orientation))
    across, down = reopened(process_encoded(data, NOTHING, target, strip=True)).info["dpi"]
    assert (round(across), round(down)) == ((300, 150) if orientation == 1 else (150, 300))


@pytest.mark.parametrize("at", range(8, 66, 2))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_odd_exif_costs_no_picture_and_spoils_no_result(format: str, at: int) -> None:
    odd = bytearray(exif(artist=NAME, resolution=True, preview=b"small", orientation=6))
    odd[at : at + 2] = b"\1\0"
    data = saved(RGB, format, exif=b"Exif\0\0" + odd)
    for target in ("png", "jpeg"):
        result = reopened(process_encoded(data, NOTHING, target))
        result.load()
        assert sorted(result.size) == sorted(RGB.shape[:2])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        (0xE2, b"ICC_PROFILE\0\1"),
        (0xE2, b"ICC_PROFILE\0\0\0x"),
        (0xED, b"Photoshop 3.0\x008BIM\4\4"),
        (0xEE, b"Adobe"),
        (0xFE, b""),
    ],
)
def test_damaged_metadata_costs_no_jpeg(kind: int, body: bytes) -> None:
    whole = saved(RGB, "JPEG")
    assert np.array_equal(decode(whole[:2] + segment(kind, body) + whole[2:]), decode(whole))


def test_the_old_preview_is_gone() -> None:
    data = saved(RGB, "JPEG", exif=b"Exif\0\0" + exif(artist=NAME, preview=b"a small picture of before"))
    result = process_encoded(data, NOTHING, "jpeg")
    assert b"of before" not in result and NAME in result
    assert reopened(result).getexif().get_ifd(1) == {}


@pytest.mark.parametrize("size", [100_000, 70_000])
def test_exif_too_large_for_a_jpeg_is_named_and_kept_in_a_png(size: int) -> None:
    data = png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", exif(artist=b"n" * size)))
    (note,) = notes(data, "x.png", "jpg")
    assert "bytes of EXIF" in str(note) and "--format png" in str(note)
    assert notes(data, "x.png") == notes(data, "x.png", "jpg", strip=True) == []
    assert b"n" * size in process_encoded(data, NOTHING)
    assert b"nnn" not in process_encoded(data, NOTHING, "jpeg")


def test_exif_that_fits_without_its_preview_is_kept() -> None:
    data = png(2, 1, 8, 0, b"\0\1\2", chunk(b"eXIf", exif(artist=NAME, preview=bytes(80_000))))
    assert notes(data, "x.png", "jpg") == []
    assert NAME in process_encoded(data, NOTHING, "jpeg")


@pytest.mark.parametrize(
    ("mode", "space", "format", "is_kept"),
    [
        ("RGB", b"RGB ", "PNG", True),
        ("RGBA", b"RGB ", "PNG", True),
        ("RGB", b"RGB ", "WEBP", True),
        ("RGB", b"RGB ", "TIFF", True),
        ("L", b"GRAY", "PNG", True),
        ("L", b"GRAY", "JPEG", True),
        ("L", b"GRAY", "TIFF", True),
        ("LA", b"GRAY", "PNG", False),
        ("L", b"RGB ", "PNG", False),
        ("L", b"RGB ", "TIFF", False),
        ("RGB", b"GRAY", "JPEG", False),
        ("CMYK", b"CMYK", "JPEG", False),
        ("CMYK", b"CMYK", "TIFF", False),
    ],
)
def test_a_profile_is_kept_or_named(mode: str, space: bytes, format: str, is_kept: bool) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"RGB ", space, 1)
    image = Image.fromarray(np.dstack([RGB, ALPHA])).convert("LA" if mode == "LA" else mode)
    data = saved(image, format, icc_profile=profile)
    said = [str(note) for note in notes(data, "x")]
    kept = reopened(process_encoded(data, NOTHING)).info.get("icc_profile")
    if is_kept:
        assert (kept, said) == (profile, [])
    else:
        name = space.decode().strip()
        assert kept is None
        assert said == [f"x has a colour profile for {name}, which its result does not keep"]


def test_a_profile_larger_than_a_segment_is_carried_over() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(150_000)
    for format in ("PNG", "JPEG", "WEBP"):
        for target in ("png", "jpeg"):
            data = saved(RGB, format, icc_profile=profile)
            assert reopened(process_encoded(data, NOTHING, target)).info["icc_profile"] == profile


# --- importing ----------------------------------------------------------------------------------------------


def test_the_libraries_are_imported_when_the_first_picture_is_read() -> None:
    program = (
        "import sys, labkit.imaging.image_files, labkit.cli.submit; "
        "sys.exit(', '.join({'PIL', 'cv2', 'numpy', 'tifffile'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True).stderr.strip()
        == ""
    )
