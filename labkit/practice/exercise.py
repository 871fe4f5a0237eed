"""An exercise's metadata, and the catalogue of all exercises in their order.

Each exercise is a folder of ``labkit/practice/exercises``::

    exercise.toml   id, number, day, minutes, needs, seeds
    source.py       the solution, with the parts marked that the stub lacks (see ``source``)
    check.py        ``simulated(learner, seed)`` and ``real(learner)``, or one of them (see ``check``)
    en.md, es.md    title, text and three hints (see ``texts``)
    wrong/*.py      planted wrong solutions; the first line names the finding that must reject each
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from labkit.core.errors import N_, InvalidInput

FOLDER = Path(__file__).with_name("exercises")


@dataclass(frozen=True)
class Exercise:
    """One exercise: what the catalogue knows without reading its text."""

    id: str
    """Its name in commands: ``first-task``."""
    number: int
    day: int
    minutes: int
    """What a learner needs for it, estimated."""
    needs: tuple[str, ...]
    """What its real stage cannot do without: "redis", "docker"."""
    seeds: int
    """How many seeds the simulated stage tries: 0 to ``seeds`` - 1. 0 if it has no such stage."""
    folder: Path

    @property
    def module(self) -> str:
        """The learner's module in ``work/``, without suffix: ``ex01_first_task``."""
        return self.folder.name


@functools.cache
def catalogue(folder: Path = FOLDER) -> tuple[Exercise, ...]:
    """Return all exercises, in the order of their numbers."""
    found = [_read(path) for path in folder.glob("*/exercise.toml")]
    return tuple(sorted(found, key=lambda exercise: exercise.number))


def _read(path: Path) -> Exercise:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    return Exercise(
        id=fields["id"],
        number=fields["number"],
        day=fields["day"],
        minutes=fields["minutes"],
        needs=tuple(fields.get("needs", ())),
        seeds=fields.get("seeds", 0),
        folder=path.parent,
    )


def find(name: str, exercises: tuple[Exercise, ...] | None = None) -> Exercise:
    """Return the exercise with this id, number (``7``) or module (``ex07_process_pool``).

    Raises InvalidInput, which names the nearest id.
    """
    exercises = catalogue() if exercises is None else exercises
    wanted = name.removesuffix(".py")
    for exercise in exercises:
        if wanted in (exercise.id, str(exercise.number), f"{exercise.number:02}", exercise.module):
            return exercise
    near = difflib.get_close_matches(wanted, [exercise.id for exercise in exercises], n=1)
    if near:
        raise InvalidInput(N_("there is no exercise {name}; do you mean {near}?"), name=name, near=near[0])
    raise InvalidInput(N_("there is no exercise {name}; python -m labkit practice list shows all"), name=name)
