"""Checks an exercise: both of its stages, one after the other, and the verdict.

An exercise's ``check.py`` has one or both of::

    def simulated(learner: Learner, seed: int) -> Any     at most ``SIMULATED_S`` for all seeds together
    def together(values: list[Any]) -> None               optional: judges what ``simulated`` returned
    def real(learner: Learner) -> Remark | None           at most ``REAL_S``, on processes of its own

They raise Finding if the learner's code is wrong, Inconclusive if this machine cannot tell. Any other error
of labkit (no free port, a cluster that does not start) makes the check inconclusive, too. They return if all
is well; ``real`` returns a Remark if it could judge only a part (no Docker), and the pass shows it. The
simulated stage runs for the seeds 0, 1, 2 …, so the first one that fails is the smallest.
"""

from __future__ import annotations

import importlib
import reprlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from labkit.core.errors import N_, InvariantBroken, LabkitError
from labkit.practice import findings
from labkit.practice.exercise import Exercise
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding, Inconclusive, Kind, Remark, Verdict

SIMULATED, REAL = "simulated", "real"
STAGES = (SIMULATED, REAL)
SIMULATED_S = 2.0
REAL_S = 20.0
PATIENCE = 30
"""A busy machine gets this many times the simulated stage's time before the check is inconclusive."""


ANSWER_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a check raises that computes with an answer of another kind than it asked for."""


class _Run(NamedTuple):
    """One run of a stage."""

    stage: str
    seed: int | None
    learner: Learner
    run: Callable[[], Any]


def check(
    exercise: Exercise,
    root: Path,
    *,
    stages: tuple[str, ...] = STAGES,
    seeds: range | None = None,
    prepare: Callable[[], None] | None = None,
) -> Verdict:
    """Return the verdict on ``root``/work/<module>.py.

    ``seeds``: those of the simulated stage; None: the exercise's own. ``prepare`` runs in each process of the
    learner's code before the code does (limits; POSIX only).
    """
    began = time.monotonic()
    stage, seed, output = "", None, ""
    remark = Remark("")
    learner: Learner | None = None
    try:
        for one in _runs(exercise, root, stages, seeds, prepare):
            stage, seed, learner = one.stage, one.seed, one.learner
            try:
                said = one.run()
                remark = said if isinstance(said, Remark) else remark
            finally:
                output = one.learner.output
    except Finding as finding:
        return _verdict(exercise, Kind.FAIL, stage, seed, finding, output, began)
    except InvariantBroken:
        raise
    except LabkitError as error:
        return _verdict(exercise, Kind.INCONCLUSIVE, stage, seed, error, output, began)
    except ANSWER_ERRORS:
        if learner is None or learner.last is None:
            raise
        function, answer = learner.last
        unusable = findings.unusable(function, reprlib.repr(answer))
        return _verdict(exercise, Kind.FAIL, stage, seed, unusable, output, began)
    return Verdict(
        exercise.id,
        Kind.PASS,
        happened=remark.template,
        params=remark.params,
        output=output,
        seconds=time.monotonic() - began,
    )


def _runs(
    exercise: Exercise,
    root: Path,
    stages: tuple[str, ...],
    seeds: range | None,
    prepare: Callable[[], None] | None,
) -> Iterator[_Run]:
    checker = checker_of(exercise)
    simulated, real = getattr(checker, SIMULATED, None), getattr(checker, REAL, None)
    if simulated is not None and SIMULATED in stages:
        with Learner(exercise, root, prepare=prepare) as learner:
            deadline = time.monotonic() + PATIENCE * SIMULATED_S
            values: list[Any] = []
            for seed in range(exercise.seeds) if seeds is None else seeds:
                if time.monotonic() > deadline:
                    raise Inconclusive(
                        N_("this machine was too busy: {seeds} simulated runs took {seconds:.0f} s"),
                        seeds=seed,
                        seconds=PATIENCE * SIMULATED_S,
                    )
                yield _Run(SIMULATED, seed, learner, partial(_keep, values, simulated, learner, seed))
            if hasattr(checker, "together") and len(values) == exercise.seeds:
                yield _Run(SIMULATED, None, learner, partial(checker.together, values))
    if real is not None and REAL in stages:
        with Learner(exercise, root, prepare=prepare, together_s=2 * REAL_S) as learner:
            yield _Run(REAL, None, learner, partial(real, learner))


def _keep(values: list[Any], simulated: Callable[..., Any], learner: Learner, seed: int) -> None:
    values.append(simulated(learner, seed))


def has_stage(exercise: Exercise, stage: str) -> bool:
    """Return whether an exercise has this stage."""
    return hasattr(checker_of(exercise), stage)


def checker_of(exercise: Exercise) -> ModuleType:
    """Return the exercise's check.py as a module."""
    return importlib.import_module(f"labkit.practice.exercises.{exercise.module}.check")


def _verdict(
    exercise: Exercise,
    kind: Kind,
    stage: str,
    seed: int | None,
    error: LabkitError,
    output: str,
    began: float,
) -> Verdict:
    finding = error if isinstance(error, Finding) else None
    return Verdict(
        exercise.id,
        kind,
        stage=stage,
        code=finding.code if finding else "",
        seed=seed,
        expected=finding.expected if finding else "",
        happened=error.template,
        advice=finding.advice if finding else N_("Check again when less else runs on this machine."),
        params=dict(error.params),
        learner_lines=finding.learner_lines if finding else (),
        timeline=finding.timeline if finding else (),
        output=output,
        seconds=time.monotonic() - began,
    )
