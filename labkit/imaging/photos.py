"""Real photographs to work on: scikit-image's own, or the user's.

scikit-image has about twenty public photographs in its installed package: a cat, a cup of coffee, an
astronaut, the Hubble deep field. They are found as files, without importing scikit-image (which takes about a
second) and without a network.

A `Photo` is a name and a path; the file is read only on demand. So one missing file does not stop a batch:
only that photo raises `ImageError`.
"""

from __future__ import annotations

import builtins
import enum
import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.core.errors import N_, ImageError
from labkit.imaging import image_files
from labkit.imaging.image_files import PictureNote

if TYPE_CHECKING:
    import numpy as np

PathLike = str | os.PathLike[str]

# Photographs only; scikit-image's drawings, chessboards, phantoms and logos are left out. Colour first.
_PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "ihc.png",
    "camera.png",
    "coins.png",
    "moon.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "clock_motion.png",
    "page.png",
    "text.png",
)


# Suffixes of pictures that classes use and the lab cannot read, many of them raw files of cameras.
_UNREADABLE = {
    "heic", "heif", "hif", "avif", "jxl", "jp2", "svg", "svgz", "pdf", "eps", "psd", "xcf", "ico", "tga",
    "exr", "hdr", "ppm", "pgm", "pbm", "dng", "cr2", "cr3", "nef", "arw", "orf", "raf", "rw2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture file and a short name for it, unique among the photos it was loaded with."""

    name: str
    path: Path

    def bytes(self) -> builtins.bytes:
        """Return the contents of the file, still encoded; `ImageError` if unreadable."""
        return image_files.read_bytes(self.path)

    def array(self) -> np.ndarray:
        """Return the decoded picture (`labkit.imaging.image_files.decode`); `ImageError` if unreadable."""
        return image_files.read(self.path)


def bundled() -> list[Photo]:
    """Return scikit-image's photographs, colour first: 448 x 172 to 1411 x 1411 pixels.

    Raises `ImageError` if scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")  # locates the package without importing it
    folders = (found.submodule_search_locations or []) if found else []
    paths = [Path(folder, "data", name) for folder in folders for name in _PHOTOGRAPHS]
    photos = _named(path for path in paths if path.is_file())
    if not photos:
        raise ImageError(
            N_(
                "scikit-image's photographs are not installed; "
                "install scikit-image, or name a folder with photos of your own"
            )
        )
    return photos


def from_folder(
    path: PathLike,
    recursive: bool = False,
    *,
    on_skipped: Callable[[Skipped], None] = lambda skipped: None,
) -> list[Photo]:
    """Return the picture files (by suffix) in the folder ``path``, sorted by name.

    Options are those of `pictures_in`. Raises `ImageError` if it is not a folder, cannot be read, or holds no
    such file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ImageError(N_("{path} is not a folder"), path=str(path))
    return _named(pictures_in(folder, recursive, on_skipped=on_skipped))


def load(source: PathLike | Sequence[PathLike] | None = None) -> list[Photo]:
    """Return photos from ``source``: None for the bundled ones, a folder, a file, or several of both.

    A named *file* is not looked for until it is read, so that one wrong name does not stop the others.
    """
    if source is None:
        return bundled()
    sources = [source] if isinstance(source, str | os.PathLike) else source
    paths: list[Path] = []
    for each in sources:
        path = Path(each)
        paths.extend(pictures_in(path) if path.is_dir() else [path])
    return _named(paths)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a folder that is not taken for a picture, and why."""

    path: Path
    reason: PictureNote


def pictures_in(
    folder: Path,
    recursive: bool = False,
    *,
    without: Path | None = None,
    on_skipped: Callable[[Skipped], None] = lambda skipped: None,
) -> list[Path]:
    """Return the folder's pictures, sorted; with ``recursive`` those of its subfolders behind them.

    Hidden files are left out (macOS writes ``._cat.jpg``), and the folder ``without``. ``on_skipped``
    receives what is left out, except hidden files that are no pictures. Raises `ImageError` if the folder
    cannot be read or has no pictures.
    """
    found = _search(folder, recursive, without.resolve() if without is not None else None, on_skipped)
    if not found:
        raise ImageError(
            N_(
                "{path} holds no PNG or JPEG files, nor WebP, BMP, TIFF or GIF; "
                "name another folder, or none for the lab's own photos"
            ),
            path=str(folder),
        )
    return found


def _search(
    folder: Path, recursive: bool, without: Path | None, on_skipped: Callable[[Skipped], None]
) -> list[Path]:
    found = []
    folders = [folder]
    while folders:
        looked_in = folders.pop()
        try:
            entries = sorted(os.scandir(looked_in), key=lambda entry: entry.name)
        except OSError as error:
            reason = {"reason": error.strerror or str(error)}
            if looked_in == folder:
                raise ImageError(N_("{path} cannot be read: {reason}"), path=str(folder), **reason) from error
            on_skipped(Skipped(looked_in, PictureNote(N_("cannot be read: {reason}"), **reason)))
            continue
        below = []
        for entry in entries:
            path = looked_in / entry.name
            kind = _kind(entry, path, recursive, without)
            if kind is _Kind.PICTURE:
                found.append(path)
            elif kind is _Kind.FOLDER:
                below.append(path)
            elif isinstance(kind, PictureNote):
                on_skipped(Skipped(path, kind))
        folders += below[::-1]  # the first is looked into next
    return found


class _Kind(enum.Enum):
    PICTURE = enum.auto()
    FOLDER = enum.auto()
    IGNORED = enum.auto()


def _kind(entry: os.DirEntry[str], path: Path, recursive: bool, without: Path | None) -> _Kind | PictureNote:
    """Return what is done with an entry, or why it is skipped."""
    try:
        is_file, is_folder = entry.is_file(), entry.is_dir()
        if not (is_file or is_folder):
            entry.stat()  # raises for a link that leads nowhere
    except OSError as error:
        return PictureNote(N_("cannot be read: {reason}"), reason=error.strerror)
    is_picture = entry.name.lower().endswith(image_files.READABLE)
    if entry.name.startswith("."):
        return PictureNote(N_("hidden")) if is_picture or (is_folder and recursive) else _Kind.IGNORED
    if is_folder:
        if without is not None and path.resolve() == without:
            return PictureNote(N_("the results are written there"))
        if not recursive:
            return PictureNote(N_("a folder: --recursive reads it too"))
        return PictureNote(N_("a link to a folder")) if entry.is_symlink() else _Kind.FOLDER
    if not is_file:
        return PictureNote(N_("not a file"))
    return _Kind.PICTURE if is_picture else _why_no_picture(entry.name)


def _why_no_picture(name: str) -> PictureNote:
    suffix = name.lower().rpartition(".")[2]
    if suffix in _UNREADABLE:
        return PictureNote(
            N_("{format}, which the lab cannot read; save it as JPEG or PNG"), format=suffix.upper()
        )
    return PictureNote(N_("not named like a picture"))


def _named(paths: Iterable[Path]) -> list[Photo]:
    """Return the photos with names that are unique: ``cat``; for a second one ``cat-2``."""
    photos: list[Photo] = []
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name.lower() in taken:  # some file systems take Cat and cat for one file
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.lower())
        photos.append(Photo(name, path))
    return photos
