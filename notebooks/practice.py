"""The exercises of a day as parts of a notebook, made from the catalogue (``labkit/practice/exercises``).

Text, stub and solution of an exercise have one place, its folder. A notebook of practice is a frame in
``notebooks/source`` with these parts in its middle; a new exercise appears in it by a rebuild.
"""

from __future__ import annotations

from typing import NamedTuple

from labkit.practice import texts
from labkit.practice.exercise import Exercise, catalogue
from labkit.practice.workspace import solution_of, stub_of

MINUTES = {"es": "{n} minutos", "en": "{n} minutes"}
HOW = {
    "es": """Cada ejercicio es un texto y una celda. La celda funciona, pero aún no hace lo que se pide.

1. Cambia el código y ejecuta la celda con `Mayús` + `Intro`. Debajo aparece el veredicto: qué se esperaba,
   qué pasó y qué puedes probar. Repítelo hasta que diga `aprobado`.
2. ¿Te atascas? Escribe `%hint` y el nombre del ejercicio en una celda nueva: hay tres pistas, cada vez más
   claras. Cuando esté aprobado, `%solution` y el nombre muestran nuestra solución.
3. `no concluyente` no cuenta en tu contra: la máquina estaba ocupada. Ejecuta la celda otra vez.

Cada celda se guarda como un archivo en `work/`. En una terminal, `python3 lab.py practice` trabaja con los
mismos archivos y muestra el mismo progreso.""",
    "en": """Each exercise is a text and a cell. The cell runs, but does not yet do what is asked.

1. Change the code and run the cell with `Shift` + `Enter`. The verdict appears below it: what was expected,
   what happened and what you can try. Repeat until it says `passed`.
2. Stuck? Type `%hint` and the name of the exercise in a new cell: there are three hints, each clearer than
   the last. Once you have passed, `%solution` and the name show our solution.
3. `inconclusive` does not count against you: the machine was busy. Run the cell again.

Each cell is saved as a file in `work/`. In a terminal, `python3 lab.py practice` works on the same files and
shows the same progress.""",
}
"""How a notebook of practice is used: a part of each of them."""


class Part(NamedTuple):
    """One exercise; each dict has the reader's languages as its keys."""

    exercise: str
    """Its id."""
    texts: dict[str, str]
    """Heading and task, as Markdown."""
    stubs: dict[str, str]
    """The cell that a learner starts with."""
    solutions: dict[str, str]
    """The same cell, solved."""
    on_real_processes: bool
    """Whether nothing of it runs in the simulator, where a run repeats exactly."""


def of_day(day: int) -> list[Exercise]:
    """Return the exercises of a day, in their order."""
    return [exercise for exercise in catalogue() if exercise.day == day]


def minutes(day: int) -> int:
    """Return how long the exercises of a day take, together."""
    return sum(exercise.minutes for exercise in of_day(day))


def parts(day: int) -> list[Part]:
    """Return the exercises of a day as parts of a notebook."""
    return [_part(exercise) for exercise in of_day(day)]


def _part(exercise: Exercise) -> Part:
    return Part(
        exercise.id,
        {lang: _text(exercise, lang) for lang in texts.LANGUAGES},
        {lang: _cell(exercise, stub_of(exercise, lang)) for lang in texts.LANGUAGES},
        {lang: _cell(exercise, solution_of(exercise, lang)) for lang in texts.LANGUAGES},
        exercise.seeds == 0,
    )


def _text(exercise: Exercise, lang: str) -> str:
    text = texts.read(exercise, lang)
    length = MINUTES[lang].format(n=exercise.minutes)
    return f"## {exercise.number} · {text.title}\n\n*{length}*\n\n{text.task}"


def _cell(exercise: Exercise, code: str) -> str:
    return f"%%exercise {exercise.id}\n{code}".rstrip("\n")
