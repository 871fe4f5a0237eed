"""Requeue on kill: what a lost worker held comes back, once, first, and in its order.

Simulated: workers are killed while they compute, and the learner's function returns the queue after each
loss. The broker uses that queue, so a task that is left out is lost for good.
"""

from __future__ import annotations

from labkit.core.broker.records import Worker
from labkit.core.broker.scheduler import Scheduler
from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import Parts, simulate
from labkit.simulation.scenario import Place, uneven


class Requeueing(Scheduler):
    """The scheduler, which asks the learner for the queue after each loss of a worker."""

    piece: Piece

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        if worker.tasks and self.piece.failure is None:
            held = [task.hex for task in worker.tasks.values()]
            waiting = [task.hex for task in self.queue]
            answer = self.piece.ask("after_loss", held, waiting, otherwise=None)
            if self.piece.failure is None:
                self._judge(worker.id, held, waiting, answer, now)
        super()._lose(worker, cause, now)

    def _judge(self, worker: str, held: list[str], waiting: list[str], answer: object, now: float) -> None:
        facts = {"worker": worker, "at": now, "held": len(held)}
        if not isinstance(answer, list) or not set(answer) <= {*held, *waiting}:
            self.piece.find(
                Finding(
                    "wrong-type",
                    N_("after_loss returned something else than a list of the tasks that it was given"),
                    expected=N_("after_loss returns the tasks of held and of waiting, in one list"),
                    advice=N_("Two lists are joined with +."),
                )
            )
        elif missing := [task for task in (*held, *waiting) if task not in answer]:
            self.piece.find(
                Finding(
                    "lost",
                    N_("at {at:.2f} s {worker} was lost with {held} tasks; your queue lacks {missing} tasks"),
                    expected=N_("every task that it held, and every task that waited, is in the queue"),
                    advice=N_(
                        "A task that is left out is never computed. Which of the two lists is missing?"
                    ),
                    missing=len(missing),
                    **facts,
                )
            )
        elif len(answer) > len(held) + len(waiting):
            self.piece.find(
                Finding(
                    "doubled",
                    N_("at {at:.2f} s your queue held {length} tasks, {doubled} of them twice"),
                    expected=N_("every task is in the queue once"),
                    advice=N_("A task that is in the queue twice is computed twice."),
                    length=len(answer),
                    doubled=len(answer) - len(set(answer)),
                    **facts,
                )
            )
        elif answer != [*held, *waiting]:
            self.piece.find(
                Finding(
                    "order",
                    N_("at {at:.2f} s the queue was not in the order in which the tasks came"),
                    expected=N_(
                        "the lost worker's tasks come first, because they are the oldest, then the others"
                    ),
                    advice=N_("Neither sort nor reverse the lists: each is in its order already."),
                    **facts,
                )
            )


def simulated(learner: Learner, seed: int) -> None:
    """Judge one seed: every loss in it."""
    piece = Piece(learner)
    scheduler = type("LearnersScheduler", (Requeueing,), {"piece": piece})
    scenario = uneven(seed, 30, [Place()] * 3, 0.06)
    run = simulate(seed, faults=("kill",), safety_s=6.0, parts=Parts(scheduler=scheduler), scenario=scenario)
    piece.raise_failure(run)
    run.require_ok()
