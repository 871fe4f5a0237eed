"""One learner's practice: files, record and exercises together, for the command line and the notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labkit.core.errors import N_, InvalidInput
from labkit.practice import texts
from labkit.practice.check import STAGES, check
from labkit.practice.exercise import Exercise, catalogue, find
from labkit.practice.progress import Progress, Standing
from labkit.practice.screen import next_exercise
from labkit.practice.texts import HINTS
from labkit.practice.verdict import Verdict
from labkit.practice.workspace import Workspace, solution_of
from labkit.support.i18n import language


class NothingLeft(InvalidInput):
    """Every exercise is passed."""


class Practice:
    """See the module's head. ``root`` is the folder that holds the learner's ``work/``."""

    def __init__(self, root: Path, exercises: Sequence[Exercise] | None = None) -> None:
        self.exercises = tuple(catalogue() if exercises is None else exercises)
        self.workspace = Workspace(root)
        self.progress = Progress(self.workspace)

    def standings(self) -> dict[str, Standing]:
        """Return the standing in each exercise that was touched."""
        return self.progress.standings()

    def find(self, name: str | None) -> Exercise:
        """Return the exercise called ``name``; None: the first one that is not passed.

        Raises InvalidInput for an unknown name, NothingLeft if all are passed.
        """
        if name is not None:
            return find(name, self.exercises)
        exercise = next_exercise(self.exercises, self.standings())
        if exercise is None:
            raise NothingLeft(N_("every exercise is passed; python -m labkit practice list shows their ids"))
        return exercise

    def check(
        self, exercise: Exercise, stages: tuple[str, ...] = STAGES, seeds: range | None = None
    ) -> Verdict:
        """Check the learner's file, note the verdict and return it. Raises InvalidInput without a file."""
        file = self.workspace.file(exercise)
        if not file.exists():
            raise InvalidInput(
                N_("{file} does not exist; python -m labkit practice start {exercise} writes it"),
                file=file,
                exercise=exercise.id,
            )
        verdict = check(exercise, self.workspace.root, stages=stages, seeds=seeds)
        is_whole = stages == STAGES and seeds is None
        if not verdict.passed or is_whole:  # a part that passes is no pass
            self.progress.checked(verdict)
        elif not verdict.happened:
            return replace(verdict, happened=N_("only a part was checked; a check of everything counts"))
        return verdict

    def hint(self, exercise: Exercise, level: int | None = None) -> tuple[int, str]:
        """Return (level, text) of a hint and note it; None: the next one, after the last the last again."""
        seen = self.standings().get(exercise.id, Standing()).hints
        level = min(HINTS, seen + 1) if level is None else level
        self.progress.hint(exercise, level)
        return level, texts.read(exercise, language()).hints[level - 1]

    def solution(self, exercise: Exercise) -> str:
        """Return the solution and note that it was read."""
        self.progress.solution(exercise)
        return solution_of(exercise)
