"""The learner's files: one per exercise in ``work/``, never overwritten.

``work/`` is the learner's. What labkit writes there anew (a stub) replaces nothing, and what it takes away
(``reset``, a cell that is saved over an edited file) stays as a copy in ``work/backups/``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from labkit.core.errors import N_, InvalidInput
from labkit.practice import source, texts
from labkit.practice.exercise import Exercise
from labkit.support.atomic_files import atomic_write, atomic_write_new
from labkit.support.i18n import language


class Workspace:
    """The folder in which a learner works; ``root`` holds ``work/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "work"

    def file(self, exercise: Exercise) -> Path:
        """Return the path of the learner's file for an exercise, whether or not it exists."""
        return self.folder / f"{exercise.module}.py"

    def start(self, exercise: Exercise) -> bool:
        """Write the stub if the learner has no file for this exercise yet; return whether it was written."""
        self.make_folder()
        try:
            atomic_write_new(self.file(exercise), stub_of(exercise).encode())
        except FileExistsError:
            return False
        return True

    def save(self, exercise: Exercise, code: str) -> Path | None:
        """Write ``code`` as the learner's file; return the copy of another text that was there, or None."""
        file = self.file(exercise)
        self.make_folder()
        backup = None
        worthless = [code, *(stub_of(exercise, name) for name in texts.LANGUAGES)]
        if file.exists() and file.read_bytes() not in [text.encode() for text in worthless]:
            backup = self._back_up(file)
        atomic_write(file, code.encode())
        return backup

    def reset(self, exercise: Exercise) -> Path:
        """Begin anew: write the stub, and return the copy of the learner's file.

        Raises InvalidInput if there is no file.
        """
        file = self.file(exercise)
        if not file.exists():
            raise InvalidInput(
                N_("{file} does not exist; python -m labkit practice start {exercise} writes it"),
                file=file,
                exercise=exercise.id,
            )
        backup = self._back_up(file)
        atomic_write(file, stub_of(exercise).encode())
        return backup

    def make_folder(self) -> None:
        """Make ``work/``. Raises InvalidInput if something else has its name."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InvalidInput(
                N_("{folder} has to be a folder, for your files; rename what has this name now"),
                folder=self.folder,
            ) from None

    def _back_up(self, file: Path) -> Path:
        folder = self.folder / "backups"
        folder.mkdir(exist_ok=True)
        stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
        number = 0
        while True:
            copy = folder / f"{file.stem}.{stamp}{f'_{number}' if number else ''}.py"
            try:
                atomic_write_new(copy, file.read_bytes())
            except FileExistsError:
                number += 1
            else:
                return copy


def stub_of(exercise: Exercise, lang: str | None = None) -> str:
    """Return what a learner starts with, in ``lang`` or the reader's language."""
    return source.stub(_source(exercise), texts.read(exercise, lang or language()).title)


def solution_of(exercise: Exercise, lang: str | None = None) -> str:
    """Return the solution, in ``lang`` or the reader's language."""
    return source.solution(_source(exercise), texts.read(exercise, lang or language()).title)


def _source(exercise: Exercise) -> str:
    return (exercise.folder / "source.py").read_text(encoding="utf-8")
