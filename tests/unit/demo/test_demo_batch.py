"""The demo's batch: real photographs, whole first, enough of them whatever the user brings."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.core.errors import ImageError
from labkit.demo.batch import PIXELS, Failure, gather, rounds_for, steps
from labkit.demo.reference import compute, different
from labkit.demo.show import Demo
from labkit.imaging import image_files, photos
from labkit.imaging.photos import Photo


def folder_of(tmp_path: Path, names: list[str]) -> list[Photo]:
    random = np.random.default_rng(5)
    for name in names:
        image_files.write(tmp_path / name, random.integers(0, 255, (60, 80, 3), np.uint8))
    return photos.from_folder(tmp_path)


def test_bundled_photographs_make_the_batch() -> None:
    made: list[int] = []
    gathered = gather(photos.bundled(), 24, made.append)
    assert len(gathered.pictures) == 24 and gathered.photos == 18 and not gathered.failed
    assert [picture.name for picture in gathered.pictures[:3]] == ["astronaut", "chelsea", "coffee"]
    assert gathered.pictures[18].name == "astronaut/2"
    assert made == sorted(made) and made[-1] == 24
    for picture in gathered.pictures:
        height, width = image_files.decode(picture.data).shape[:2]
        assert abs(height * width - PIXELS) < PIXELS / 100, "each about the same amount of work"


def test_one_photo_is_enough_and_its_parts_differ(tmp_path: Path) -> None:
    gathered = gather(folder_of(tmp_path, ["one.png"]), 20)
    assert gathered.photos == 1
    assert len({picture.data for picture in gathered.pictures}) == 20
    assert len({picture.name for picture in gathered.pictures}) == 20


def test_many_photos_are_each_used_whole_and_once(tmp_path: Path) -> None:
    gathered = gather(folder_of(tmp_path, [f"{n:02}.jpg" for n in range(12)]), 10)
    assert [picture.name for picture in gathered.pictures] == [f"{n:02}" for n in range(10)]
    assert (gathered.photos, gathered.found) == (10, 12)


def test_unreadable_photos_are_listed_and_replaced_by_the_others(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.png", "c.png"])
    (tmp_path / "b.jpg").write_text("not a photo")
    gathered = gather(photos.from_folder(tmp_path), 9)
    assert len(gathered.pictures) == 9 and gathered.photos == 2
    (failure,) = gathered.failed
    assert isinstance(failure, Failure)
    assert failure.photo.name == "b" and "not a PNG or JPEG" in str(failure.error)


def test_no_usable_photo_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_text("not a photo")
    with pytest.raises(ImageError, match=r"none of the 1 pictures can be used; .*b\.jpg"):
        gather(photos.from_folder(tmp_path), 9)


def test_control_characters_in_a_name_are_replaced(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a\x1b[2Jb.png"])
    assert gather(photos.from_folder(tmp_path), 1).pictures[0].name == "a?[2Jb"


def test_transparent_and_grey_photos_are_accepted(tmp_path: Path) -> None:
    image_files.write(tmp_path / "grey.png", np.full((30, 40), 99, np.uint8))
    image_files.write(tmp_path / "clear.png", np.full((30, 40, 4), 99, np.uint8))
    image_files.write(tmp_path / "tiny.png", np.full((1, 1, 3), 99, np.uint8))
    shapes = [image_files.decode(p.data).ndim for p in gather(photos.from_folder(tmp_path), 6).pictures]
    assert shapes == [3, 2, 3, 3, 2, 3]


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no line feed in a name")
def test_what_is_left_out_of_a_folder_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path, ["a.png"])
    (tmp_path / "b.heic").write_text("x")
    (tmp_path / "line\nfeed.txt").write_text("x")
    (tmp_path / "broken.jpg").write_text("x")
    (tmp_path / "more").mkdir()
    first, second = (Image.fromarray(np.full((30, 40, 3), shade, np.uint8)) for shade in (250, 10))
    first.save(tmp_path / "more" / "moving.gif", save_all=True, append_images=[second])
    options = Namespace(photos=str(tmp_path), recursive=False, workers=3, json=False, out="out", backend=None)
    Demo(options, None)._gather()
    shown = capsys.readouterr().out.splitlines()
    for line in (
        f"left out: {tmp_path / 'b.heic'}: HEIC, which the lab cannot read; save it as JPEG or PNG",
        f"left out: {tmp_path}/line\\nfeed.txt: not named like a picture",
        f"left out: {tmp_path / 'broken.jpg'} is not a PNG or JPEG picture, nor WebP, BMP, TIFF or GIF",
        f"left out: {tmp_path / 'more'}: a folder: --recursive reads it too",
    ):
        assert line in shown
    options.recursive = True
    Demo(options, None)._gather()
    shown = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / 'more' / 'moving.gif'} has 2 frames; only the first is used" in shown


@pytest.mark.parametrize(
    ("seconds", "at_once", "expected"),
    [(4.0, 2, 4), (4.0, 3, 6), (0.1, 3, 8), (60.0, 1, 2)],
    ids=["two cores", "three cores", "a fast machine", "a slow one"],
)
def test_faster_machine_processes_the_pictures_more_often(
    seconds: float, at_once: int, expected: int
) -> None:
    assert rounds_for(seconds, 8.0, at_once) == expected


def test_reference_detects_a_single_wrong_pixel(tmp_path: Path) -> None:
    pictures = gather(folder_of(tmp_path, ["a.png", "b.png"]), 2).pictures
    done: list[int] = []
    reference = compute(pictures, steps(), done.append)
    assert done == [1, 2] and reference.seconds > 0 and reference.per_s > 0
    image = image_files.decode(reference.results[1])
    same_in_another_file = image_files.encode(image, "png") + b""
    image[0, 0, 0] ^= 255
    wrong = image_files.encode(image, "png")
    results = [(0, reference.results[0]), (1, same_in_another_file), (1, wrong)]
    assert different(reference, results) == [1]
