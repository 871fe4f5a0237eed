"""Poison: a task that crashes its worker fails after three crashes, and no innocent task does.

Simulated: a few tasks kill every process that computes them, other workers are killed or frozen by chance,
and the learner's function decides at each loss. Each decision is judged, then how often each poisonous task
was sent.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

from labkit.core.broker.records import Worker
from labkit.core.broker.scheduler import Scheduler
from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import RULES, Parts, simulate
from labkit.simulation.scenario import Place, Scenario, uneven

POISON = 2
"""Poisonous tasks of a run."""
EXPECTED = N_("a task is poison once {most} processes have died while it ran in them")


class Quarantining(Scheduler):
    """The scheduler, which asks the learner about each task of a lost worker."""

    piece: Piece

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._losses: dict[str, list[dict[str, object]]] = defaultdict(list)

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        for task in worker.tasks.values():
            losses = self._losses[task.hex]
            losses.append(
                {
                    "worker": worker.id,
                    "process": worker.instance.hex()[:6],
                    "started": task.started_at is not None,
                    "crashed": cause == "closed",
                }
            )
            self._judge(task.hex, losses, now)
        super()._lose(worker, cause, now)

    def _judge(self, task: str, losses: list[dict[str, object]], now: float) -> None:
        crashes = len({loss["process"] for loss in losses if loss["started"] and loss["crashed"]})
        right = crashes >= RULES.max_crashes
        answer = self.piece.truth("is_poison", losses, otherwise=right)
        if answer == right:
            return
        facts = {
            "at": now,
            "task": task[-6:],
            "crashes": crashes,
            "losses": len(losses),
            "most": RULES.max_crashes,
        }
        if answer:
            self.piece.find(
                Finding(
                    "innocent",
                    N_("you gave up task {task} when {crashes} processes had died while it ran"),
                    expected=EXPECTED,
                    advice=N_(
                        "Count only losses in which it had started and the process died, each process once."
                    ),
                    **facts,
                )
            )
        else:
            self.piece.find(
                Finding(
                    "tried-again",
                    N_("task {task} had killed {crashes} processes; you would send it again"),
                    expected=EXPECTED,
                    advice=N_("Give up with the third crash, not after it."),
                    **facts,
                )
            )


def simulated(learner: Learner, seed: int) -> None:
    """Judge some made-up records, then one seed."""
    _judge_by_hand(learner, Random(f"{seed} records"))
    piece = Piece(learner)
    scheduler = type("LearnersScheduler", (Quarantining,), {"piece": piece})
    parts = Parts(scheduler=scheduler)
    run = simulate(seed, faults=("kill", "pause"), safety_s=6.0, parts=parts, scenario=_workload(seed))
    piece.raise_failure(run)


def _workload(seed: int) -> Scenario:
    scenario = uneven(seed, 30, [Place()] * 4, 0.06)
    works = list(scenario.works)
    for number in Random(f"{seed} poison").sample(range(len(works)), POISON):
        works[number] = works[number]._replace(behaviour="poison", compute_s=0.05)
    return Scenario(works, scenario.places)


def _judge_by_hand(learner: Learner, random: Random) -> None:
    """Ask about a record in which not every loss is a crash while the task ran."""
    losses: list[dict[str, object]] = [
        {
            "worker": f"worker-{random.randint(1, 3)}",
            "process": f"{random.randrange(1 << 24):06x}",
            "started": random.random() < 0.7,
            "crashed": random.random() < 0.7,
        }
        for _ in range(random.randint(3, 7))
    ]
    losses.append(dict(losses[0]))
    crashes = len({loss["process"] for loss in losses if loss["started"] and loss["crashed"]})
    piece = Piece(learner)
    answer = piece.truth("is_poison", losses, otherwise=False)
    piece.raise_failure()
    if answer is not (crashes >= RULES.max_crashes):
        raise Finding(
            "innocent" if crashes < RULES.max_crashes else "tried-again",
            N_("in {losses} losses, {crashes} processes died while it ran; you decided otherwise"),
            expected=EXPECTED,
            advice=N_("Count only losses in which it had started and the process died, each process once."),
            losses=len(losses),
            crashes=crashes,
            most=RULES.max_crashes,
        )
