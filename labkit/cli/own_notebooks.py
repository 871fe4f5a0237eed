"""A learner's own copies of the course's notebooks: JupyterLab saves by itself, and not into the lab.

The course's notebooks are committed files. Whoever ran them in place would change them by looking at them,
and the teacher's next ``git pull`` would stop at each. So ``lab`` opens copies, in ``LABKIT_HOME/course``:

====================================  ======================================================================
the copy                              what happens
====================================  ======================================================================
is not there                          it is made
is as it was made                     it is made anew when the course's has changed
has been written to by its reader     it stays, always; that there is a newer one is said
has been written to, and ``fresh``    it is kept beside under a name of its own, then made anew
====================================  ======================================================================

A notebook is told by its cells and their outputs: JupyterLab writes into the rest as soon as it is opened.
``.made.json`` beside the copies remembers what each was made of; a copy of which it knows nothing is its
reader's. Every file appears whole or not at all.
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
    """What was done: the names of files."""

    made: list[str]
    outdated: list[str]
    """The reader's own, of which the course has a newer version."""
    kept: list[str]
    """Under which names the reader's own stay, after ``fresh``."""


def make(course: Path, folder: Path, fresh: bool = False) -> Copies:
    """Bring the copies in ``folder`` of the files in ``course`` up to date, and say what was done.

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
        text = source.read_bytes()
        newest, copy = digest(text), folder / source.name
        present = digest(copy.read_bytes()) if copy.exists() else None
        was_made_of = known.get(source.name)
        if present not in (None, newest, was_made_of):  # its reader's
            if not fresh:
                if was_made_of not in (None, newest):
                    done.outdated.append(source.name)
                continue
            kept = copy.rename(_free_name(copy))
            done.kept.append(kept.name)
        if present != newest:
            atomic_write(copy, text)
            done.made.append(source.name)
        if was_made_of != newest:  # after the copy: interrupted before this, the next time finds both alike
            known[source.name] = newest
            atomic_write(record, json.dumps(known, indent=1).encode())
    return done


def _files(course: Path) -> Iterator[Path]:
    for pattern in COPIED:
        yield from sorted(course.glob(pattern))


def _read(record: Path) -> dict[str, str]:
    """Return what each copy was made of; nothing is known if the record is missing or spoilt."""
    try:
        told = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in told.items()} if isinstance(told, dict) else {}


def _free_name(copy: Path) -> Path:
    """Return a name beside ``copy`` that nothing has: day1.ipynb gives day1_mine_1.ipynb."""
    number = 1
    while (free := copy.with_name(f"{copy.stem}_mine_{number}{copy.suffix}")).exists():
        number += 1
    return free


def digest(data: bytes) -> str:
    """Return a digest of what a reader sees of a file: of a notebook its cells and their outputs."""
    try:
        told = json.loads(data)
        seen = [(cell["cell_type"], cell["source"], cell.get("outputs")) for cell in told["cells"]]
    except (ValueError, TypeError, KeyError):  # no notebook, or a broken one
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha256(json.dumps(_joined(seen), sort_keys=True).encode()).hexdigest()


def _joined(value: Any) -> Any:
    """Return the same with each list of lines as one text: a notebook may have either for the same."""
    if isinstance(value, dict):
        return {key: _joined(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        if value and all(isinstance(each, str) for each in value):
            return "".join(value)
        return [_joined(each) for each in value]
    return value


def bring(courses: Path, folder: Path) -> None:
    """Make the copies of all languages, in a container that is about to show them; say what stays behind."""
    for lang in LANGUAGES:
        for name in make(courses / lang, folder / lang).outdated:
            text = _("There is a newer version of {file}; yours stays. Rename it, and start the lab again.")
            print(text.format(file=f"{lang}/{name}"), flush=True)


if __name__ == "__main__":
    try:
        bring(Path(sys.argv[1]), Path(sys.argv[2]))
    except CopiesFailed as failed:
        sys.exit(translate_error(failed))
