"""Photos: real photographs without a network, and the user's own in their place."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labkit.core.errors import ImageError
from labkit.imaging import image_files, photos


def touch(folder: Path, *names: str) -> None:
    for name in names:
        image_files.write(folder / name, np.full((2, 3), len(name), np.uint8))


def test_bundled_photographs_are_real_varied_and_in_constant_order() -> None:
    found = photos.bundled()
    assert len(found) >= 10
    names = [photo.name for photo in found]
    assert names[:4] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert {"retina", "hubble_deep_field"} < set(names)
    assert len(set(names)) == len(names)
    assert found == photos.bundled()
    for photo in found:
        image = photo.array()
        assert image.dtype == np.uint8
        assert image.shape[0] * image.shape[1] > 50_000
        assert image.std() > 5  # no blank picture
    assert {photo.array().ndim for photo in found} == {2, 3}


def test_drawings_and_test_patterns_are_no_photographs() -> None:
    names = {photo.name for photo in photos.bundled()}
    assert not names & {"chessboard_GRAY", "chessboard_RGB", "phantom", "logo", "horse", "color"}


def test_decoding_the_photos_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for photo in photos.bundled():
        photo.array()
    assert capfd.readouterr() == ("", "")


def test_a_photos_bytes_are_its_file() -> None:
    photo = photos.bundled()[0]
    assert photo.bytes() == photo.path.read_bytes()
    assert np.array_equal(image_files.decode(photo.bytes()), photo.array())


def test_finding_photos_imports_no_scikit_image() -> None:
    program = (
        "import sys; from labkit.imaging import photos; photos.bundled(); sys.exit('skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_without_scikit_image_the_error_gives_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="install scikit-image, or name a folder"):
        photos.bundled()


def test_a_folder_gives_its_pictures_sorted_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.jpg", "C.PNG", "d.jpeg", ".hidden.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    found = photos.from_folder(tmp_path)
    assert [photo.path.name for photo in found] == ["C.PNG", "a.jpg", "b.png", "d.jpeg"]
    assert [photo.name for photo in found] == ["C", "a", "b", "d"]


def test_names_are_unique_even_without_case(tmp_path: Path) -> None:
    touch(tmp_path, "cat.jpg", "cat.png", "cat-2.png")
    (tmp_path / "more").mkdir()
    touch(tmp_path / "more", "CAT.png")
    found = photos.load([tmp_path, tmp_path / "more"])
    assert [photo.name for photo in found] == ["cat-2", "cat", "cat-3", "CAT-4"]


def test_a_folder_without_pictures_or_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no PNG or JPEG files"):
        photos.from_folder(tmp_path)
    with pytest.raises(ImageError, match="is not a folder"):
        photos.from_folder(tmp_path / "nowhere")


def test_load_accepts_nothing_a_folder_a_file_or_several(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    touch(tmp_path / "folder", "a.png", "b.png")
    touch(tmp_path, "c.png")
    assert photos.load() == photos.bundled()
    assert [photo.name for photo in photos.load(tmp_path / "folder")] == ["a", "b"]
    assert [photo.name for photo in photos.load(str(tmp_path / "c.png"))] == ["c"]
    assert [photo.name for photo in photos.load([tmp_path / "c.png", tmp_path / "folder"])] == ["c", "a", "b"]


def test_one_missing_file_does_not_stop_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "here.png")
    here, gone = photos.load([tmp_path / "here.png", tmp_path / "gone.png"])
    assert here.array().shape == (2, 3)
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        gone.bytes()
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        gone.array()
