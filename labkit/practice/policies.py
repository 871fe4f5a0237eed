"""A learner's placement policy in the simulator: the function runs in the learner's process.

``Remote`` is the policy on our side; the exercise's play.py imports ``choose`` for the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from labkit.core.broker.policies import TaskView, WorkerView
from labkit.core.errors import N_
from labkit.core.history import POLICY_ERROR, History
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding


@dataclass(frozen=True)
class SeenTask:
    """What the learner's policy sees of a task (``TaskView``)."""

    id: bytes
    job: str
    attempt: int


@dataclass(frozen=True)
class SeenWorker:
    """What the learner's policy sees of a worker (``WorkerView``)."""

    id: str
    in_flight: int
    slots: int
    last_used: int
    last_dispatch: int
    completed: int


def choose(module: ModuleType, task: list[Any], workers: list[list[Any]], now: float) -> Any:
    """Call the learner's ``choose`` (in the learner's process); return a worker's id, None, or a description.

    The description of something that is no worker is a list of one text.
    """
    seen = [SeenWorker(*fields) for fields in workers]
    given = list(zip(seen, workers, strict=True))  # its own list is the learner's to change
    chosen = module.choose(SeenTask(*task), seen, now)
    if chosen is None:
        return None
    for worker, fields in given:
        if chosen is worker:
            return fields[0]
    return [type(chosen).__name__]


def judge_real_run(history: History) -> None:
    """Raise Finding if the learner's function failed in a real broker, or a promise was broken there."""
    for event in history.events:
        if event.kind == POLICY_ERROR:
            raise Finding(
                "raised",
                N_("in the broker, choose failed: {error}"),
                expected=N_("choose returns one of the workers that it was given, or None to wait"),
                advice=N_("Look at the error; the broker calls choose as the simulator does."),
                error=event.detail.get("error", ""),
            )
    if violations := history.check():
        raise Finding(
            "promise-broken",
            N_("in the broker, a promise was broken: {violation}"),
            expected=N_("every task ends exactly once, whatever the policy chooses"),
            advice=N_("Check again; if it stays, report it: a policy should not be able to do that."),
            violation=violations[0],
        )


class Remote(Piece):
    """The learner's policy; use it as ``policy`` of `labkit.simulation.simulate`."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner)
        self.__name__ = f"work.{learner.exercise.module}:choose"

    def __call__(self, task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
        """Return the worker that the learner chose; the first one once a call has failed."""
        fields = [
            [one.id, one.in_flight, one.slots, one.last_used, one.last_dispatch, one.completed]
            for one in workers
        ]
        chosen = self.play("choose", [task.id, task.job, task.attempt], fields, now, otherwise=workers[0].id)
        if isinstance(chosen, list):
            self.find(
                Finding(
                    "not-a-worker",
                    N_("choose returned {kind}, not one of the workers"),
                    expected=N_("choose returns one of the workers that it was given, or None to wait"),
                    advice=N_("Return an element of the list, not its id or its position."),
                    kind=chosen[0],
                )
            )
            return workers[0]
        return next((worker for worker in workers if worker.id == chosen), None)
