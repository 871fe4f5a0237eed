"""Heartbeats and their expiry: the dead are given up in time, the slow are not.

Simulated: workers are frozen for a while or cut off, and the learner's function decides in the broker, a few
times per heartbeat, whom to give up. Judged is each decision, by how long the worker had been silent.
"""

from __future__ import annotations

from dataclasses import replace

from labkit.core.broker.records import Worker
from labkit.core.broker.scheduler import Scheduler
from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import RULES, Parts, simulate
from labkit.simulation.scenario import Place, uneven

SLOW_BEATS, DEAD_BEATS = 3, 5
"""Silence of so many heartbeats is not enough, or too much."""
FAULTS = ("pause", "partition")
LENIENT = replace(RULES, dead_s=(DEAD_BEATS + 0.5) * RULES.heartbeat_s)
"""The simulation's own checker ends a run at the first loss that is late by these rules."""


class Patient(Scheduler):
    """The scheduler, whose liveness asks the learner who is dead."""

    piece: Piece

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._sweep_by_the_rules = self.liveness.sweep_workers
        self.liveness.sweep_workers = self._sweep_workers  # type: ignore[method-assign]

    def _sweep_workers(self, now: float) -> list[tuple[Worker, str]]:
        lost = [(worker, cause) for worker, cause in self._sweep_by_the_rules(now) if cause != "silent"]
        heard = {worker.id: worker.last_heard + worker.patience_s for worker in self.workers}
        answer = self.piece.ask("dead", heard, now, RULES.heartbeat_s, otherwise=None)
        if answer is None and self.piece.failure is not None:
            return lost
        given_up = self._judged(answer, heard, now)
        present = {worker.id: worker for worker in self.workers}
        return lost + [(present[name], "silent") for name in given_up]

    def _judged(self, answer: object, heard: dict[str, float], now: float) -> list[str]:
        if not isinstance(answer, list) or not all(name in heard for name in answer):
            self.piece.find(
                Finding(
                    "wrong-type",
                    N_("dead returned {answer!r}"),
                    expected=N_("dead returns a list of names from last_heard"),
                    advice=N_("A list comprehension over last_heard.items() gives names."),
                    answer=answer,
                )
            )
            return []
        for name, at in heard.items():
            beats = (now - at) / RULES.heartbeat_s
            if name in answer and beats < SLOW_BEATS:
                self._find(
                    "too-early",
                    N_("{worker} was given up after {beats:.1f} heartbeats of silence"),
                    name,
                    beats,
                )
            elif name not in answer and beats > DEAD_BEATS:
                self._find(
                    "too-late",
                    N_("{worker} was silent for {beats:.1f} heartbeats and not given up"),
                    name,
                    beats,
                )
        return answer

    def _find(self, code: str, template: str, worker: str, beats: float) -> None:
        self.piece.find(
            Finding(
                code,
                template,
                expected=N_("silence of {slow} heartbeats is forgiven, and of {dead} it is not"),
                advice=N_("Compare now - last_heard with a few times heartbeat_s."),
                worker=worker,
                beats=beats,
                slow=SLOW_BEATS,
                dead=DEAD_BEATS,
            )
        )


def simulated(learner: Learner, seed: int) -> None:
    """Judge one seed."""
    piece = Piece(learner)
    scheduler = type("LearnersScheduler", (Patient,), {"piece": piece})
    scenario = uneven(seed, 30, [Place()] * 4, 0.15)
    run = simulate(
        seed, faults=FAULTS, rules=LENIENT, safety_s=8.0, parts=Parts(scheduler=scheduler), scenario=scenario
    )  # fmt: skip
    piece.raise_failure(run)
