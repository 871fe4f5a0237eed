"""An autoscaler with a cooldown: never out of its bounds, quick to grow, calm before it shrinks.

Simulated: two bursts of work with a trickle between them, on up to eight workers that the learner's
autoscaler starts and drains. Judged are the sizes that it asked for, how long tasks took beside eight workers
that are always there, and the worker-seconds that it used.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from labkit.core.autoscaler import Autoscaler, Decision, Limits, Load
from labkit.core.errors import N_
from labkit.practice.exercises.ex17_own_policy.check import mean_s
from labkit.practice.learner import Learner
from labkit.practice.piece import Piece
from labkit.practice.verdict import Finding
from labkit.simulation import Parts, Run, simulate
from labkit.simulation.scenario import Place, Scenario, work

LEAST, MOST, TARGET_S, CALM_S = 1, 8, 1.0, 3.0
BURSTS_AT, BURST_TASKS, BURST_TASK_S = (0.5, 10.0), 24, 0.5
TRICKLE_S, TRICKLE_TASK_S = 0.4, 0.2
RUN_S = 18.0
SLOWER, CHEAPER = 4.0, 0.75
"""How much longer a task may take, and how many worker-seconds may be used, beside eight workers always."""


class Step(NamedTuple):
    """What the autoscaler was asked, and what it answered."""

    at: float
    workers: int
    work_s: float
    wanted: int


class Remote(Autoscaler):
    """The learner's autoscaler in the place of the real one."""

    def __init__(self, piece: Piece, steps: list[Step], now: float) -> None:
        super().__init__(Limits(LEAST, MOST), now)
        self._piece, self._steps = piece, steps
        piece.play("begin", otherwise=None, known_as="Autoscaler")

    def observe(self, load: Load, now: float) -> Decision | None:
        """Return the learner's decision; none once a call has failed."""
        wanted = self._piece.play(
            "size", now, load.size, load.work_s, otherwise=load.size, known_as="Autoscaler"
        )
        try:
            self._judge(Step(now, load.size, load.work_s, wanted))
        except Finding as finding:
            self._piece.find(finding)
            return None
        return None if wanted == load.size else Decision(wanted, load.size, load.open_tasks, load.work_s)

    def _judge(self, step: Step) -> None:
        if type(step.wanted) is not int:
            raise Finding(
                "wrong-type",
                N_("size returned {wanted!r}"),
                expected=N_("size returns a whole number of workers"),
                advice=N_("math.ceil turns a fraction into the next whole number."),
                wanted=step.wanted,
            )
        if not LEAST <= step.wanted <= MOST:
            raise Finding(
                "out-of-bounds",
                N_("at {at:.1f} s, with {work:.1f} s of open work, it wanted {wanted} workers"),
                expected=N_("it always wants between {least} and {most} workers"),
                advice=N_("Limit the number at the end, with min and max."),
                at=step.at, work=step.work_s, wanted=step.wanted, least=LEAST, most=MOST,
            )  # fmt: skip
        changed = [one.at for one in self._steps if one.wanted != one.workers]
        if step.wanted < step.workers and changed and step.at - changed[-1] < CALM_S - 1e-6:
            raise Finding(
                "flaps",
                N_("at {at:.1f} s it went from {before} to {wanted} workers, {calm:.1f} s after a change"),
                expected=N_("it shrinks only when the last change is {calm_s:g} s ago"),
                advice=N_("Remember when the size last changed, growing included."),
                at=step.at, before=step.workers, wanted=step.wanted,
                calm=step.at - changed[-1], calm_s=CALM_S,
            )  # fmt: skip
        self._steps.append(step)


def simulated(learner: Learner, seed: int) -> None:
    """Judge one seed."""
    steps: list[Step] = []
    piece = Piece(learner)
    parts = Parts(
        autoscaler=lambda _limits, now: Remote(piece, steps, now),
        limits=Limits(LEAST, MOST, TARGET_S, calm_s=0.5, settle_s=0.6),
    )
    run = _run(seed, ("autoscale",), parts)
    piece.raise_failure(run)
    run.require_ok()
    always = _run(seed, (), None)
    mine_s, best_s = mean_s(run.history), mean_s(always.history)
    if mine_s > SLOWER * best_s:
        raise Finding(
            "too-slow",
            N_("a task took {mine:.2f} s on average"),
            expected=N_("at most {most:.2f} s; with {workers} workers always it takes {best:.2f} s"),
            advice=N_("With work_s seconds of open work, how many workers finish it within TARGET_S?"),
            mine=mine_s, best=best_s, most=SLOWER * best_s, workers=MOST,
        )  # fmt: skip
    used = sum(step.wanted for step in steps) / (MOST * len(steps))
    if used > CHEAPER:
        raise Finding(
            "wasteful",
            N_("it used {used:.0%} of what {workers} workers use that are always there"),
            expected=N_("it uses at most {most:.0%}"),
            advice=N_("Give workers back when there is little to do, after the calm."),
            used=used, most=CHEAPER, workers=MOST,
        )  # fmt: skip


def _run(seed: int, faults: tuple[str, ...], parts: Parts | None) -> Run:
    return simulate(seed, faults=faults, safety_s=RUN_S, parts=parts, scenario=_bursts(seed))


def _bursts(seed: int) -> Scenario:
    random = Random(f"{seed} bursts")
    arrivals = [(at, BURST_TASK_S) for at in BURSTS_AT for _ in range(BURST_TASKS)]
    arrivals += [(at * TRICKLE_S, TRICKLE_TASK_S) for at in range(int(RUN_S / TRICKLE_S) - 2)]
    works = [
        work(random.randbytes(12) + number.to_bytes(4, "big"), seconds * random.uniform(0.9, 1.1), at)
        for number, (at, seconds) in enumerate(arrivals)
    ]
    return Scenario(works, [Place()] * MOST)
