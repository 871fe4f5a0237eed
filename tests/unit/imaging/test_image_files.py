"""Pictures: bytes from outside are checked before decoding, and errors name the picture."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.core.errors import ImageError
from labkit.imaging import image_files
from labkit.imaging.image_files import decode, encode


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG file by hand: ``rows`` with their filter bytes, ``extra`` chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data


PNG = encode(noise(9, 12, 3))
JPEG = encode(noise(40, 50, 3), "jpeg")


# --- there and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3), (9, 12, 4), (1, 1)])
def test_png_keeps_every_pixel_and_the_layout(shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    assert np.array_equal(decode(encode(image)), image)


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_keeps_the_layout_and_nearly_the_pixels(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 130, np.uint8)
    result = decode(encode(image, "jpeg"))
    assert result.shape == shape
    assert np.abs(result.astype(int) - 130).max() <= 2


def test_jpeg_leaves_transparency_out() -> None:
    assert decode(encode(noise(8, 8, 4), "jpg")).shape == (8, 8, 3)


def test_quality_decides_the_size_of_a_jpeg() -> None:
    image = noise(64, 64, 3)
    assert len(encode(image, "jpeg", quality=10)) < len(encode(image, "jpeg", quality=95))


@pytest.mark.parametrize("quality", [0, 101, True, 50.0, "50"])
def test_a_quality_outside_its_range_is_refused(quality: Any) -> None:
    with pytest.raises(ImageError, match="from 1 to 100"):
        encode(noise(8, 8), "jpeg", quality)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ImageError, match=r"'gif' is unknown; known: png, jpeg"):
        encode(noise(8, 8), "gif")


def test_a_picture_too_long_for_jpeg_is_refused() -> None:
    with pytest.raises(ImageError, match="cannot be stored as jpeg"):
        encode(noise(1, 70_000), "jpeg")


@pytest.mark.parametrize(
    "image", [None, b"x", noise(5), noise(5, 5, 2), np.zeros((5, 5), np.int16), noise(0, 0)]
)
def test_an_array_that_is_no_image_cannot_be_encoded(image: Any) -> None:
    with pytest.raises(ImageError):
        encode(image)


def test_bytes_may_come_in_any_kind_of_buffer() -> None:
    for data in (bytearray(PNG), memoryview(PNG)):
        assert np.array_equal(decode(data), decode(PNG))


# --- the kinds of PNG ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "colour", "bytes_a_pixel", "shape"),
    [
        (8, 0, 1, (4, 4)),
        (16, 0, 2, (4, 4)),
        (8, 2, 3, (4, 4, 3)),
        (16, 2, 6, (4, 4, 3)),
        (8, 4, 2, (4, 4, 4)),
        (16, 4, 4, (4, 4, 4)),
        (8, 6, 4, (4, 4, 4)),
        (16, 6, 8, (4, 4, 4)),
    ],
)
def test_every_kind_of_png_becomes_one_of_three_layouts(
    depth: int, colour: int, bytes_a_pixel: int, shape: tuple[int, ...]
) -> None:
    rows = b"".join(b"\0" + noise(4 * bytes_a_pixel).tobytes() for _ in range(4))
    image = decode(png(4, 4, depth, colour, rows))
    assert (image.shape, image.dtype.name) == (shape, f"uint{depth}")


def test_sixteen_bits_are_kept_and_scaled_where_eight_are_wanted() -> None:
    image = decode(png(2, 1, 16, 0, b"\0\x12\x34\xff\xff"))
    assert image.tolist() == [[0x1234, 0xFFFF]]
    assert image_files.eight_bits(image).tolist() == [[0x12, 0xFF]]


def test_palette_and_single_bit_images_are_expanded() -> None:
    palette = chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6]))
    assert decode(png(2, 1, 8, 3, b"\0\0\1", palette)).tolist() == [[[3, 2, 1], [6, 5, 4]]]
    transparent = palette + chunk(b"tRNS", b"\x80")
    assert decode(png(2, 1, 8, 3, b"\0\0\1", transparent))[0, :, 3].tolist() == [0x80, 255]
    assert decode(png(8, 1, 1, 0, b"\0\xaa")).tolist() == [[255, 0] * 4]


def test_a_broken_colour_profile_prints_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    assert decode(png(2, 1, 8, 0, b"\0\1\2", chunk(b"iCCP", b"x\0\0zzzz"))).tolist() == [[1, 2]]
    assert capfd.readouterr() == ("", "")


def test_a_photo_marked_as_rotated_is_rotated_upright() -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:, :16] = 255
    jpeg = encode(upright, "jpeg")
    # TIFF header, one entry: tag 0x112 (orientation), type 3 (short), count 1, value 6 (a quarter turn)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    image = decode(jpeg[:2] + segment(0xE1, exif) + jpeg[2:])
    assert image.shape == (32, 16)
    assert image[:14].min() > 200
    assert image[18:].max() < 50


# --- what must not be decoded -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", b"GIF89a...", b"<svg/>", b"\x89PNG", b"\xff\xd8", bytes(100)])
def test_only_the_signature_makes_a_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"cat\.png is not a PNG or JPEG picture"):
        decode(data, name="cat.png")


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (5001, 5000), (2**31 - 1, 1), (2**32 - 1, 2**32 - 1)]
)
def test_the_size_is_refused_before_anything_is_decoded(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=f"{width} x {height} pixels; at most 25000000"):
        decode(png(width, height, 8, 0, b"\0"))


def test_a_jpegs_size_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    frame = segment(0xC0, struct.pack(">BHHB", 8, 50_000, 40_000, 3) + bytes(9))
    with pytest.raises(ImageError, match="40000 x 50000 pixels"):
        decode(b"\xff\xd8" + frame + segment(0xDA, bytes(6)) + b"\0\xff\xd9")


def test_the_caller_chooses_the_pixel_limit() -> None:
    assert decode(PNG, max_pixels=9 * 12).shape == (9, 12, 3)
    with pytest.raises(ImageError, match="12 x 9 pixels; at most 107"):
        decode(PNG, max_pixels=9 * 12 - 1)


@pytest.mark.parametrize("whole", [PNG, JPEG], ids=["png", "jpeg"])
def test_half_a_file_is_truncated_wherever_it_ends(whole: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    for length in [8, 9, 20, 32, 33, 40, len(whole) // 2, len(whole) - 3, len(whole) - 1]:
        with pytest.raises(ImageError, match=r"half\.img is truncated"):
            decode(whole[:length], name="half.img")
    assert capfd.readouterr().err == ""


def test_bytes_after_the_end_of_a_picture_are_ignored() -> None:
    for whole in (PNG, JPEG):
        assert np.array_equal(decode(whole + b"trailing bytes"), decode(whole))


def test_the_end_of_a_preview_picture_is_not_the_end_of_the_picture() -> None:
    with_preview = JPEG[:2] + segment(0xE1, encode(noise(4, 4), "jpeg")) + JPEG[2:]
    assert np.array_equal(decode(with_preview), decode(JPEG))
    with pytest.raises(ImageError, match="truncated"):
        decode(with_preview[:-100])


@pytest.mark.parametrize(
    "data",
    [
        PNG[:45] + bytes([PNG[45] ^ 1]) + PNG[46:],  # a bit in the pixels
        png(0, 5, 8, 0, b""),
        png(5, 5, 8, 0, b"\0"),  # fewer rows than announced
        png(5, 5, 7, 9, bytes(30)),  # no such depth, no such colour
        PNG[:8] + chunk(b"IDAT", b"") + PNG[8:],  # the header is not first
        b"\xff\xd8" + segment(0xE0, bytes(4)) + b"\xff\xd9",  # no picture between start and end
        b"\xff\xd8" + segment(0xC0, bytes(3)) + b"\xff\xd9",
    ],
)
def test_a_damaged_file_is_called_damaged(data: bytes) -> None:
    with pytest.raises(ImageError, match="damaged"):
        decode(data)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", PNG[:33], JPEG[:200]]),
)
def test_garbage_raises_nothing_but_image_errors(start: bytes, data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(start + data)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_changed_bytes_give_an_image_or_an_image_error(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from([PNG, JPEG])))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(file).dtype == np.uint8
    except ImageError as refusal:
        assert str(refusal)


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cat.png", "cat.JPG", "cat.jpeg"])
def test_the_suffix_decides_the_format_of_a_written_picture(tmp_path: Path, name: str) -> None:
    image_files.write(tmp_path / name, noise(8, 8, 3))
    assert image_files.read(tmp_path / name).shape == (8, 8, 3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_suffix_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cat\.gif: .* must end in \.png"):
        image_files.write(tmp_path / "cat.gif", noise(8, 8))
    assert list(tmp_path.iterdir()) == []


def test_a_reading_error_names_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing\.png does not exist"):
        image_files.read(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="is not a file"):
        image_files.read(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.png is not a PNG or JPEG picture"):
        image_files.read(str(tmp_path / "text.png"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"pipe\.png is not a file"):
        image_files.read(tmp_path / "pipe.png")


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(image_files.MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match=r"large\.png has 200000001 bytes"):
        image_files.read(tmp_path / "large.png")


def test_a_failed_write_raises_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        image_files.write(tmp_path / "no" / "such" / "folder" / "cat.png", noise(8, 8))
    (tmp_path / "cat.png").mkdir()
    with pytest.raises(ImageError, match=r"cat\.png cannot be written"):
        image_files.write(tmp_path / "cat.png", noise(8, 8))
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]


def test_a_failed_write_leaves_the_old_file_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "cat.png"
    image_files.write(target, noise(8, 8))
    before = target.read_bytes()

    def full(_unfinished: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ImageError, match=r"cat\.png cannot be written: No space left on device"):
        image_files.write(target, noise(30, 30))
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("target", ["self.png", "gone.png", "gone/deeper.png"])
def test_a_link_that_leads_nowhere_is_called_so(tmp_path: Path, target: str) -> None:
    link = tmp_path / "self.png"
    link.symlink_to(target)
    with pytest.raises(ImageError, match="self.png is a link that leads nowhere"):
        image_files.read_bytes(link)
