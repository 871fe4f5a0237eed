"""An output whose name is taken: it gets another one, and the sentence about it is true."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from labkit.cli.in_the_way import as_spelt, kind_of
from labkit.imaging import image_files
from tests.tools.command_line import Commands, Said


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


def picture(path: Path, shade: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((12, 16, 3), shade, np.uint8)
    image[3:6] = 10
    image_files.write(path, image)
    return path


def blurred(lab: Commands, tmp_path: Path, *words: object) -> Said:
    return lab.done(
        "submit", *words, "--filters", "blur", "--out", tmp_path / "out", "--engine", "sequential"
    )  # fmt: skip


def write_protected(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n of last year")
    path.chmod(0o444)


TAKEN: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "another result": (lambda path: picture(path, 90), "holds another result (--overwrite replaces", True),
    "a text": (lambda path: path.write_text("my notes"), "is a file, but no picture (--overwrite", True),
    "an empty file": (Path.touch, "is a file, but no picture (--overwrite", True),
    "a protected file": (write_protected, "is a write-protected file (--overwrite replaces it all", True),
    "a link": (lambda path: path.symlink_to("../own.txt"), "is a link to ../own.txt (--overwrite", True),
    "a link to a folder": (lambda path: path.symlink_to(".."), "is a link to .. (--overwrite replaces", True),
    "a link to nothing": (
        lambda path: path.symlink_to("gone.png"),
        "is a link to gone.png and leads nowhere",
        True,
    ),
    "a circle": (
        lambda path: path.symlink_to(path.name),
        "is a link to cat-blur.png and leads nowhere (--overwrite",
        True,
    ),
    "a folder": (Path.mkdir, "is a folder, which --overwrite does not replace; rename it", False),
    "a pipe": (
        lambda path: os.mkfifo(path),
        "is a device, a pipe or a socket, which --overwrite does not replace",
        False,
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_what_has_the_name_is_told_and_so_is_what_overwrite_does(
    lab: Commands, tmp_path: Path, kind: str
) -> None:
    make, told, is_replaced = TAKEN[kind]
    cat, own = picture(tmp_path / "cat.png"), tmp_path / "own.txt"
    own.write_text("of another program")
    taken, second = tmp_path / "out" / "cat-blur.png", tmp_path / "out" / "cat-blur-2.png"
    taken.parent.mkdir()
    make(taken)
    before = taken.lstat()
    assert f"cat-blur-2.png: cat-blur.png {told}" in blurred(lab, tmp_path, cat).out
    result = second.read_bytes()
    assert taken.lstat().st_ino == before.st_ino
    # The same command with --overwrite does what the sentence promises.
    second.unlink()
    said = blurred(lab, tmp_path, cat, "--overwrite").out
    if is_replaced:
        assert not taken.is_symlink() and taken.read_bytes() == result
        assert not second.exists() and "cat-blur-2.png" not in said
    else:
        assert taken.lstat().st_ino == before.st_ino and second.read_bytes() == result
        assert f"cat-blur-2.png: cat-blur.png {told}" in said
    assert own.read_text() == "of another program"


def test_a_file_that_cannot_be_read_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "cat-blur.png")

    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert kind_of(path) == "unreadable"


def test_programs_get_the_kind(lab: Commands, tmp_path: Path) -> None:
    (tmp_path / "out" / "cat-blur.png").mkdir(parents=True)
    (done,) = blurred(lab, tmp_path, picture(tmp_path / "cat.png"), "--json").json()["written"]
    assert (done["in_the_way"], done["shared"], done["shared_with"]) == ("folder", None, None)
    assert done["instead_of"] == str(tmp_path / "out" / "cat-blur.png")


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_two_pictures_with_one_output_keep_both_results_and_name_each_other(
    lab: Commands, tmp_path: Path, more: tuple[str, ...]
) -> None:
    for name, shade in (("a/same.jpg", 40), ("a/same.png", 90), ("a/b/same.png", 160)):
        picture(tmp_path / name, shade)
    said = [blurred(lab, tmp_path, tmp_path / "a", "--recursive", *more) for _run in range(2)]
    for each in said:
        assert "same-blur-2.png: same-blur.png belongs to another picture, " in each.out
        assert "same-blur-3.png: same-blur.png belongs to another picture, " in each.out
    results = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in results] == ["same-blur-2.png", "same-blur-3.png", "same-blur.png"]
    assert len({path.read_bytes() for path in results}) == 3


@pytest.mark.parametrize(
    "first, second",
    [
        ("Cat", "cat"),
        ("STRASSE", "straße"),
        (unicodedata.normalize("NFC", "Ñandú"), unicodedata.normalize("NFC", "ñandú")),
        (unicodedata.normalize("NFD", "ñandú"), unicodedata.normalize("NFC", "ñandú")),
    ],
)
def test_names_that_some_file_systems_take_for_one_are_told_as_spelt(
    lab: Commands, tmp_path: Path, first: str, second: str
) -> None:
    one, two = picture(tmp_path / "1" / f"{first}.png", 50), picture(tmp_path / "2" / f"{second}.png", 90)
    said = blurred(lab, tmp_path, one, two).out
    assert f"{second}-blur-2.png: {first}-blur.png belongs to another picture, {one}, and some file" in said
    assert sorted(os.listdir(tmp_path / "out")) == sorted([f"{first}-blur.png", f"{second}-blur-2.png"])


def test_an_output_that_would_be_an_input_says_so(lab: Commands, tmp_path: Path) -> None:
    cat, taken = picture(tmp_path / "cat.png"), picture(tmp_path / "out" / "cat-blur.png")
    said = blurred(lab, tmp_path, cat, taken, "--overwrite").out
    assert "cat-blur-2.png: cat-blur.png is one of the pictures to process" in said


def test_a_name_is_shown_as_its_folder_lists_it(tmp_path: Path) -> None:
    (tmp_path / "Cat.png").touch()
    assert as_spelt(tmp_path / "cat.png") == "Cat.png"  # as on a file system that finds it by both names
    (tmp_path / "cat.png").touch()
    assert as_spelt(tmp_path / "cat.png") == "cat.png"
    assert as_spelt(tmp_path / "gone" / "cat.png") == "cat.png"
