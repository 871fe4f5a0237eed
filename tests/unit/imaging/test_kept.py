"""What results keep of their files: depth, transparency, orientation, profile, resolution, EXIF."""

from __future__ import annotations

import io
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from labkit.core.errors import ImageError
from labkit.imaging import image_files
from labkit.imaging.filters import FILTERS, Step, apply, parse_steps
from labkit.imaging.image_files import decode, decode_with_metadata, encode, notes
from labkit.jobs import process_encoded
from tests.unit.imaging.test_image_files import chunk, png

REQUIRED: dict[str, dict[str, Any]] = {"resize": {"width": 20}, "fit": {"width": 20, "height": 20}}
BLUR = parse_steps(["blur"], {"blur": {"radius": 0}})


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def saved(image: np.ndarray, format: str, **options: Any) -> bytes:
    """Return the file that Pillow writes, from RGB."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def reopened(data: bytes) -> Any:
    return Image.open(io.BytesIO(data))


# --- depth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 3), (40, 40, 4)])
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_works_at_sixteen_bits_on_the_same_scale(name: str, shape: tuple[int, ...]) -> None:
    small = cv2.GaussianBlur(noise(*shape), (0, 0), 3)
    if len(shape) == 3 and shape[2] == 4:
        small[:, :, 3] = 255
    params = REQUIRED.get(name, {})
    result = apply(small.astype(np.uint16) * 257, name, **params)
    assert result.dtype == np.uint16
    assert np.abs(result / 257 - apply(small, name, **params).astype(float)).max() <= 3


@pytest.mark.parametrize("name", ["blur", "brightness", "sharpen", "resize", "vignette_python"])
def test_sixteen_bits_are_finer_than_eight(name: str) -> None:
    ramp = np.tile(np.linspace(20_000, 21_000, 200).astype(np.uint16), (50, 1))
    params = {"width": 150} if name == "resize" else {}
    assert len(np.unique(apply(ramp, name, **params))) > 50


def test_edges_see_steps_that_eight_bits_do_not_have() -> None:
    image = np.full((20, 20), 1000, np.uint16)
    image[:, 10:] = 1000 + 200  # less than one step of 8 bits
    assert apply(image, "edges", threshold1=1, threshold2=2).max() == 65535


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (8, 9, 4)])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_file_of_sixteen_bits_gives_a_result_of_sixteen(suffix: str, shape: tuple[int, ...]) -> None:
    image = noise(*shape).astype(np.uint16) * 257 + 3
    data = cv2.imencode(suffix, image)[1].tobytes()
    assert np.array_equal(decode(process_encoded(data, BLUR)), image)


def test_as_jpeg_sixteen_bits_are_scaled_and_a_note_says_so() -> None:
    image = np.full((16, 16), 32896, np.uint16)
    data = encode(image)
    assert np.all(np.abs(decode(process_encoded(data, BLUR, "jpeg")).astype(int) - 128) <= 2)
    assert "16 bits" in str(notes(data, "x.png", "jpg")[0]) and notes(data, "x.png") == []


def test_fractions_are_refused_in_a_sentence() -> None:
    data = saved(np.full((5, 5), 0.5, np.float32), "TIFF")
    with pytest.raises(ImageError, match="32 bits or fractions"):
        decode(data)


# --- transparency -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("name", "params"),
    [("blur", {"radius": 3}), ("sharpen", {"intensity": 2}), ("resize", {"width": 13}),
     ("resize", {"width": 77}), ("fit", {"width": 11, "height": 11})],
)  # fmt: skip
def test_hidden_colours_never_show_at_the_rim(name: str, params: dict[str, float], deep: bool) -> None:
    image = np.zeros((30, 30, 4), np.uint8)
    image[:] = (0, 255, 0, 0)  # hidden green
    image[8:21, 8:21] = (0, 0, 200, 255)  # visible red
    image[12, 8:21, 3] = 90
    given: Any = image.astype(np.uint16) * 257 if deep else image
    result = apply(given, name, **params).astype(int) // (257 if deep else 1)
    visible = result[result[:, :, 3] > 0]
    assert visible[:, 1].max() == 0
    assert np.abs(visible[:, 2] - 200).max() <= 1


def test_hidden_colours_are_no_edges_and_outlines_are() -> None:
    image = np.full((30, 30, 4), 255, np.uint8)
    image[:, :, 3] = 0
    image[::2, ::2, :3] = 0  # a hidden pattern
    assert apply(image, "edges")[:, :, :3].max() == 0
    image[10:20, 10:20] = (0, 0, 0, 255)
    assert apply(image, "edges")[8:22, 8:22, :3].max() == 255


@pytest.mark.parametrize(
    ("background", "shade"),
    [("white", (255, 255, 255)), ("#102030", (0x30, 0x20, 0x10)), ("black", (0, 0, 0))],
)
def test_a_jpeg_is_laid_on_the_background(background: str, shade: tuple[int, int, int]) -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[:, :, 1] = 255  # hidden green
    for data in (encode(image), encode(image.astype(np.uint16) * 257)):
        result = decode(process_encoded(data, BLUR, "jpeg", 95, background))
        assert np.abs(result.astype(int) - shade).max() <= 3
    with pytest.raises(ImageError, match="'nice' is unknown"):
        process_encoded(encode(image), BLUR, "jpeg", 90, "nice")


@pytest.mark.parametrize(
    ("depth", "rows", "sample", "alpha"),
    [
        (8, b"\0\1\2", b"\0\1", [0, 255]),
        (16, b"\0\1\2\3\4", b"\1\2", [0, 65535]),
        (1, b"\0\x40", b"\0\1", [255, 0]),
    ],
)
def test_a_grey_png_keeps_its_transparent_colour(
    depth: int, rows: bytes, sample: bytes, alpha: list[int]
) -> None:
    image = decode(process_encoded(png(2, 1, depth, 0, rows, chunk(b"tRNS", sample)), BLUR))
    assert image[0, :, 3].tolist() == alpha


# --- metadata -----------------------------------------------------------------------------------------------

CORNER = np.zeros((8, 16, 3), np.uint8)
CORNER[:4, :8] = 255


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_upright_and_says_so(format: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x112], exif[0x10F] = orientation, "a camera"
    options: dict[str, Any] = {"exif": exif} | ({"lossless": True} if format == "WEBP" else {})
    data = saved(np.kron(CORNER, np.ones((4, 4, 1), np.uint8)), format, **options)
    expected = np.asarray(ImageOps.exif_transpose(reopened(data)))[:, :, ::-1]
    for target in ("png", "jpeg"):
        result = process_encoded(data, BLUR, target)
        assert np.abs(decode(result).astype(int) - expected).max() <= 12
        kept = reopened(result).getexif()
        assert kept.get(0x112, 1) == 1 and kept[0x10F] == "a camera"
        assert 0x10F not in reopened(process_encoded(data, BLUR, target, strip=True)).getexif()


def exif_of_a_turned_camera() -> bytes:
    """Return EXIF as a TIFF structure: a camera's name, orientation 6."""
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a camera"
    return exif.tobytes().removeprefix(b"Exif\0\0")


def as_text(kind: str, data: bytes) -> bytes:
    digits = data.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", kind, f"{len(data):8d}", *lines, ""]).encode()


@pytest.mark.parametrize("target", ["png", "jpeg"])
@pytest.mark.parametrize("where", ["signature", "tEXt", "zTXt", "APP1"])
def test_exif_as_other_programs_wrote_it_into_png_counts_too(where: str, target: str) -> None:
    exif = exif_of_a_turned_camera()
    signed = b"Exif\0\0" + exif
    extra = {
        "signature": chunk(b"eXIf", signed),
        "tEXt": chunk(b"tEXt", b"Raw profile type exif\0" + as_text("exif", exif)),
        "zTXt": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(as_text("exif", signed))),
        "APP1": chunk(b"tEXt", b"Raw profile type APP1\0" + as_text("generic profile", signed)),
    }[where]
    data = png(2, 1, 8, 0, b"\0\x10\xf0", extra)
    result = process_encoded(data, BLUR, target)
    assert decode(result).shape[:2] == (2, 1)
    kept = reopened(result).getexif()
    assert kept[0x10F] == "a camera" and kept[0x112] == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"\nexif\n 4\nzz\n",
        b"\nexif\n 4\n\xff\xff\n",
        as_text("xmp", b"<x:xmpmeta/>"),
        b"\nexif\n9\n494",
    ],
)
def test_a_text_that_holds_no_exif_costs_no_picture(text: bytes) -> None:
    data = png(2, 1, 8, 0, b"\0\x10\xf0", chunk(b"tEXt", b"Raw profile type exif\0" + text))
    image, metadata = decode_with_metadata(data)
    assert image.shape == (1, 2) and metadata.exif == b""


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("target", ["png", "jpeg"])
def test_the_colour_profile_is_carried_over(format: str, target: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(noise(8, 8, 3), format, icc_profile=profile)
    assert reopened(process_encoded(data, BLUR, target, strip=True)).info["icc_profile"] == profile


def test_a_profile_for_other_colours_is_left_out() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(noise(8, 8), "PNG", icc_profile=profile)
    assert "icc_profile" not in reopened(process_encoded(data, BLUR)).info


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("target", ["png", "jpeg"])
def test_the_resolution_is_carried_over(format: str, target: str) -> None:
    data = saved(noise(8, 8, 3), format, dpi=(300, 150))
    across, down = reopened(process_encoded(data, BLUR, target)).info["dpi"]
    assert abs(across - 300) < 0.5 and abs(down - 150) < 0.5


def test_a_resized_result_states_its_own_size_and_no_old_preview() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA002: 16, 0xA003: 8})
    steps: list[Step] = parse_steps(["resize"], {"resize": {"width": 4}})
    kept = reopened(process_encoded(saved(CORNER, "JPEG", exif=exif), steps)).getexif()
    assert (kept.get_ifd(0x8769)[0xA002], kept.get_ifd(0x8769)[0xA003]) == (4, 2)


@pytest.mark.parametrize(
    "exif", [b"", b"MM\0*", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"text"]
)
def test_damaged_metadata_costs_no_picture(exif: bytes) -> None:
    extra = chunk(b"eXIf", exif) + chunk(b"iCCP", b"x\0\0zzzz") + chunk(b"pHYs", b"1")
    data = png(2, 1, 8, 0, b"\0\1\2", extra)
    assert decode(process_encoded(data, BLUR)).tolist() == [[1, 2]]


# --- other formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_read_and_half_a_file_is_refused(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    image = np.full((12, 20, 3), (200, 100, 0), np.uint8)
    data = saved(image, format, **options)
    assert np.abs(decode(data)[:, :, :3].astype(int) - image[:, :, ::-1]).max() <= 1
    assert notes(data, "x") == []
    for length in (len(data) // 2, len(data) - 12):
        with pytest.raises(ImageError, match=r"half (is truncated|is damaged|is not)"):
            decode(data[:length], name="half")


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_used_and_a_note_says_so(format: str) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (250, 10))
    file = io.BytesIO()
    first.save(file, format, save_all=True, append_images=[second, first])
    assert decode(file.getvalue())[:, :, :3].min() > 240
    assert [str(note) for note in notes(file.getvalue(), "x")] == ["x has 3 frames; only the first is used"]


def test_a_huge_size_is_refused_in_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    bmp = bytearray(saved(noise(4, 4, 3), "BMP"))
    bmp[18:26] = (60_000).to_bytes(4, "little") * 2
    bmp[30] = 1  # compressed: its length says nothing
    gif = bytearray(saved(noise(4, 4), "GIF"))
    gif[6:10] = (60_000).to_bytes(2, "little") * 2
    for data in (bmp, gif):
        with pytest.raises(ImageError, match="60000 x 60000"):
            decode(data)


def test_inks_are_not_taken_for_transparency() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), (250, 10, 10), np.uint8)).convert("CMYK").save(file, "TIFF")
    image = decode(file.getvalue())
    assert image.shape == (6, 6, 3) and image[0, 0, 2] > 200 > 60 > image[0, 0, 0]


def test_changed_bytes_in_any_format_give_an_image_or_an_image_error() -> None:
    chance = np.random.default_rng(9)
    for format in ("WEBP", "BMP", "TIFF", "GIF"):
        whole = saved(noise(9, 9, 3), format)
        for _ in range(150):
            file = bytearray(whole)
            for at in chance.integers(0, min(len(file), 200), 3):
                file[at] = chance.integers(0, 256)
            try:
                image_files.decode(file)
            except ImageError as refusal:
                assert str(refusal)


def test_a_profile_that_inflates_without_end_is_bounded() -> None:
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(100 << 20)))
    _image, metadata = decode_with_metadata(png(2, 1, 8, 0, b"\0\1\2", bomb))
    assert len(metadata.icc) <= 16 << 20
