"""Freeze, then wake: a result that comes late counts if it is the first, and is dropped if it is not.

Simulated: workers are frozen or cut off while they compute, are given up, and wake. The learner's function
decides on each result that reaches the broker. The broker goes on by its own rules, so the first wrong
decision is judged and nothing else.
"""

from __future__ import annotations

from labkit.core.broker.records import Worker, worker_id_of
from labkit.core.broker.scheduler import Scheduler
from labkit.core.errors import N_
from labkit.core.protocol import messages as m
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import Parts, simulate
from labkit.simulation.scenario import Place, uneven


class Deciding(Scheduler):
    """The scheduler, which asks the learner about each result."""

    piece: Piece

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._worker_handlers[m.Done] = self._on_any_done

    def _on_any_done(self, worker: Worker, done: m.Done, now: float) -> None:
        self._judge(worker.key, done, now)
        super()._on_done(worker, done, now)

    def _on_stale_message(self, route: object, message: m.Message, now: float) -> None:
        key = self.workers.stale.get(route)
        if type(message) is m.Done and key is not None:
            self._judge(key, message, now)
        super()._on_stale_message(route, message, now)

    def _judge(self, key: bytes, done: m.Done, now: float) -> None:
        task = self.tasks.get(done.task)
        attempts = None
        if task is not None:
            sent = dict(task.holders)
            if task.worker is not None:
                sent[task.attempt] = task.worker.key
            attempts = {attempt: _name(holder) for attempt, holder in sent.items()}
        right = attempts is not None and attempts.get(done.attempt) == _name(key)
        answer = self.piece.truth("counts", attempts, done.attempt, _name(key), otherwise=right)
        if answer == right:
            return
        facts = {
            "at": now,
            "worker": worker_id_of(key),
            "attempt": done.attempt,
            "task": done.task.hex()[-6:],
        }
        if not answer:
            self._find(
                "dropped",
                N_("at {at:.2f} s {worker} delivered attempt {attempt} of task {task}; you dropped it"),
                N_("the first result of an open task counts, also if its worker had been given up"),
                facts,
            )
        elif attempts is None:
            self._find(
                "doubled",
                N_("at {at:.2f} s {worker} delivered a result of a task that has one; you took it"),
                N_("a task that has ended gets no second result"),
                facts,
            )
        else:
            self._find(
                "not-sent",
                N_(
                    "at {at:.2f} s {worker} delivered attempt {attempt}, which it was never sent; you took it"
                ),
                N_("a result counts only from the worker to which this attempt was sent"),
                facts,
            )

    def _find(self, code: str, template: str, expected: str, facts: dict[str, object]) -> None:
        advice = N_("Look at attempts: None, or which attempt was sent to which worker.")
        self.piece.find(Finding(code, template, expected=expected, advice=advice, **facts))


def _name(key: bytes) -> str:
    """Return a worker as the learner sees it: its id, and which of its processes it is."""
    return f"{worker_id_of(key)}/{key[:2].hex()}"


def simulated(learner: Learner, seed: int) -> None:
    """Judge one seed: every result in it, and two made-up ones that are rare in runs."""
    _judge_by_hand(learner)
    piece = Piece(learner)
    scheduler = type("LearnersScheduler", (Deciding,), {"piece": piece})
    scenario = uneven(seed, 30, [Place()] * 3, 0.08)
    run = simulate(
        seed, faults=("pause", "partition"), safety_s=6.0, parts=Parts(scheduler=scheduler), scenario=scenario
    )  # fmt: skip
    piece.raise_failure(run)
    run.require_ok()


def _judge_by_hand(learner: Learner) -> None:
    """Ask about a worker that answers for what another one got, and about one that was started anew."""
    sent = {1: "worker-1/a0f1", 2: "worker-2/77c0"}
    for attempt, worker in ((2, "worker-1/a0f1"), (1, "worker-1/93be"), (3, "worker-2/77c0")):
        if learner.call("counts", sent, attempt, worker) is not False:
            raise Finding(
                "not-sent",
                N_("{worker} delivers attempt {attempt}; sent were {sent}; you took it"),
                expected=N_("a result counts only from the worker to which this attempt was sent"),
                advice=N_("Compare the worker with the one in attempts, for this attempt."),
                worker=worker,
                attempt=attempt,
                sent=sent,
            )
