"""A learner's own copies of the course's notebooks, so that JupyterLab never saves into the repository.

The course's notebooks are committed files. JupyterLab saves automatically, so running them in place would
change them, and the teacher's next ``git pull`` would report a conflict for each. So ``lab`` opens copies, in
``LABKIT_HOME/course``:

====================================  ======================================================================
the copy                              what happens
====================================  ======================================================================
does not exist                        it is made
is unchanged since it was made        it is replaced when the course's version changes
was changed by its reader             it stays, always; a newer version is mentioned
was changed, and ``fresh`` is given   it is kept under another name, then replaced
====================================  ======================================================================

A copy has no outputs: they would answer the lesson's questions before its reader has made a bet. The
published notebooks keep theirs.

Notebooks are compared by their cells and outputs, because JupyterLab writes to the rest as soon as it opens a
file. ``.made.json`` next to the copies records what each copy was made of; a copy that is not recorded
belongs to its reader. Every file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from labkit.core.errors import N_, LabkitError
from labkit.support.atomic_files import atomic_write
from labkit.support.i18n import LANGUAGES, _, translate_error

MADE = ".made.json"
COPIED = ("*.ipynb", "*.md")


class CopiesFailed(LabkitError):
    """The learner's copies cannot be written."""


class Copies(NamedTuple):
    """The names of the files in each outcome."""

    made: list[str]
    outdated: list[str]
    """Files changed by the reader of which the course has a newer version."""
    kept: list[str]
    """The new names of the reader's own files, after ``fresh``."""


def make(course: Path, folder: Path, fresh: bool = False) -> Copies:
    """Bring the copies in ``folder`` of the files in ``course`` up to date, and return what was done.

    Raises CopiesFailed if they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _make(course, folder, fresh)
    except OSError as error:
        raise CopiesFailed(
            N_(
                "the notebooks cannot be copied to {folder} ({reason}); make room, or set LABKIT_HOME to a "
                "folder that you may write to"
            ),
            folder=folder,
            reason=error.strerror or error,
        ) from error


def _make(course: Path, folder: Path, fresh: bool) -> Copies:
    done = Copies([], [], [])
    record = folder / MADE
    known = _read(record)
    for source in _files(course):
        text = without_outputs(source.read_bytes())
        newest, copy = digest(text), folder / source.name
        present = digest(copy.read_bytes()) if copy.exists() else None
        was_made_of = known.get(source.name)
        if present not in (None, newest, was_made_of):  # changed by its reader
            if not fresh:
                if was_made_of not in (None, newest):
                    done.outdated.append(source.name)
                continue
            kept = copy.rename(_free_name(copy))
            done.kept.append(kept.name)
        if present != newest:
            atomic_write(copy, text)
            done.made.append(source.name)
        if (
            was_made_of != newest
        ):  # written after the copy: if interrupted in between, the next call finds both equal
            known[source.name] = newest
            atomic_write(record, json.dumps(known, indent=1).encode())
    return done


def _files(course: Path) -> Iterator[Path]:
    for pattern in COPIED:
        yield from sorted(course.glob(pattern))


def _read(record: Path) -> dict[str, str]:
    """Return what each copy was made of; empty if the record is missing or damaged."""
    try:
        copies = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in copies.items()} if isinstance(copies, dict) else {}


def _free_name(copy: Path) -> Path:
    """Return a free name in the folder of ``copy``: day1.ipynb gives day1_mine_1.ipynb."""
    number = 1
    while (free := copy.with_name(f"{copy.stem}_mine_{number}{copy.suffix}")).exists():
        number += 1
    return free


def digest(data: bytes) -> str:
    """Return a digest of what a reader sees: for a notebook, its cells and their outputs."""
    try:
        notebook = json.loads(data)
        seen = [(cell["cell_type"], cell["source"], cell.get("outputs")) for cell in notebook["cells"]]
    except (ValueError, TypeError, KeyError):  # no notebook, or a broken one
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha256(json.dumps(_joined(seen), sort_keys=True).encode()).hexdigest()


def without_outputs(data: bytes) -> bytes:
    """Return a notebook as it is before anything is run; any other file, and a broken notebook, unchanged."""
    try:
        notebook = json.loads(data)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell.update(outputs=[], execution_count=None)
    except (ValueError, TypeError, KeyError):
        return data
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _joined(value: Any) -> Any:
    """Return ``value`` with each list of lines joined: a notebook may store a text either way."""
    if isinstance(value, dict):
        return {key: _joined(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        if value and all(isinstance(each, str) for each in value):
            return "".join(value)
        return [_joined(each) for each in value]
    return value


def bring(courses: Path, folder: Path) -> None:
    """Make the copies of all languages in the lab's container, and print which ones are outdated."""
    for lang in LANGUAGES:
        for name in make(courses / lang, folder / lang).outdated:
            text = _("There is a newer version of {file}; yours stays. Rename it, and start the lab again.")
            print(text.format(file=f"{lang}/{name}"), flush=True)


if __name__ == "__main__":
    try:
        bring(Path(sys.argv[1]), Path(sys.argv[2]))
    except CopiesFailed as failed:
        sys.exit(translate_error(failed))
