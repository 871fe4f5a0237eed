"""Finds what a class has handed in: a folder or a zip archive per learner, the files at any depth in it.

Of several files with an exercise's name, the one that is least deep counts. Folders of copies (``backups``),
of programs (``__pycache__``, ``__MACOSX``) and hidden ones are left out, and so are links that lead out of
the learner's folder. Of an archive nothing is written to the disk.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labkit.core.errors import N_, InvalidInput
from labkit.practice.exercise import Exercise

MOST_BYTES = 1 << 20
"""Of a hand-in; what is beyond is not read."""
LEFT_OUT = ("backups", "__pycache__", "__MACOSX")


@dataclass(frozen=True)
class HandIn:
    """One learner's file for one exercise."""

    learner: str
    exercise: Exercise
    source: bytes


def hand_ins(folder: Path, exercises: Sequence[Exercise]) -> tuple[list[str], list[HandIn]]:
    """Return the learners, one per folder or archive, and their files. Raises InvalidInput without any."""
    if not folder.is_dir():
        raise InvalidInput(N_("{folder} is no folder"), folder=folder)
    places = sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.is_dir() or _is_zip(path))
    )
    if not places:
        raise InvalidInput(
            N_("{folder} holds no folders and no .zip files; each learner's files are in one"), folder=folder
        )
    learners: list[str] = []
    found: list[HandIn] = []
    for place in places:
        name = place.stem if place.is_file() and place.stem not in learners else place.name
        learners.append(name)
        wanted = {f"{exercise.module}.py": exercise for exercise in exercises}
        for file, source in _files(place, set(wanted)).items():
            found.append(HandIn(name, wanted[file], source))
    return learners, found


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def _files(place: Path, wanted: set[str]) -> dict[str, bytes]:
    """Return the wanted files in a folder or archive by their names."""
    found: dict[str, tuple[int, str, bytes]] = {}
    for path, source in _zipped(place, wanted) if place.is_file() else _in_folder(place, wanted):
        inside = PurePosixPath(path)
        rank = len(inside.parts), path
        if inside.name not in found or rank < found[inside.name][:2]:
            found[inside.name] = *rank, source
    return {name: source for name, (_depth, _path, source) in sorted(found.items())}


def _in_folder(place: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for parent, folders, files in os.walk(place):
        folders[:] = sorted(one for one in folders if _counts(one))
        for name in files:
            file = Path(parent, name)
            inside = file.relative_to(place).as_posix()
            if name in wanted and file.resolve().is_relative_to(place.resolve()) and file.is_file():
                with open(file, "rb") as data:
                    yield inside, data.read(MOST_BYTES)
            elif _is_zip(file):
                for path, source in _zipped(file, wanted):
                    yield f"{inside}/{path}", source


def _zipped(file: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of an archive; none of one that is damaged or locked with a password."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                path = PurePosixPath(member.filename.replace("\\", "/"))
                if path.name in wanted and not member.is_dir() and all(map(_counts, path.parts[:-1])):
                    with archive.open(member) as data:
                        yield str(path), data.read(MOST_BYTES)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError):
        return


def _counts(folder: str) -> bool:
    return folder not in LEFT_OUT and not folder.startswith(".")
