"""Three kinds of work, told apart by two clocks.

Simulated: made-up measurements of four threads on two to eight cores. Real: three functions are measured in
the learner's process, then the learner's function labels them. A machine that has one core, or is busy, may
not show the difference: after some attempts a recorded measurement takes the place of its own, so that the
verdict depends on the learner's function alone.
"""

from __future__ import annotations

import math
from random import Random

from labkit.core.errors import N_, LabkitError
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding

PHRASES = {
    "waits": LabkitError(N_("waits")),
    "holds": LabkitError(N_("holds the GIL")),
    "releases": LabkitError(N_("releases the GIL")),
}
LABELS = tuple(PHRASES)
ATTEMPTS = 3
CORES = {"waits": (0.0, 0.3), "holds": (0.8, 1.2), "releases": (1.7, math.inf)}
"""How many cores each uses, least and most, if the machine shows the difference."""
RECORDED = {"waits": (0.20, 0.00), "holds": (0.21, 0.20), "releases": (0.41, 0.80)}
"""Wall-clock and processor seconds that the three gave on a machine with two idle cores."""


def simulated(learner: Learner, seed: int) -> None:
    """Ask for the label of one made-up measurement of each kind."""
    random = Random(f"{seed} clocks")
    wall_s = random.uniform(0.1, 8.0)
    used = {
        "waits": random.uniform(0.0, 0.3),
        "holds": random.uniform(0.8, 1.1),
        "releases": random.uniform(1.7, min(4, random.randint(2, 8))),
    }
    for label in random.sample(LABELS, len(LABELS)):
        _judge(learner, label, wall_s, used[label] * wall_s)


def real(learner: Learner) -> None:
    """Measure and ask."""
    for label in LABELS:
        _judge(learner, label, *_measured(learner, label))


def _measured(learner: Learner, label: str) -> tuple[float, float]:
    """Return wall-clock and processor seconds: measured here if they show the difference, else recorded."""
    for _attempt in range(ATTEMPTS):
        wall_s, cpu_s = learner.play("measure", label, limit_s=6.0, known_as="diagnose")
        least, most = CORES[label]
        if wall_s > 0 and least <= cpu_s / wall_s <= most:
            return wall_s, cpu_s
    return RECORDED[label]


def _judge(learner: Learner, label: str, wall_s: float, cpu_s: float) -> None:
    answer = learner.call("diagnose", wall_s, cpu_s)
    if answer == label:
        return
    raise Finding(
        "wrong-label" if answer in LABELS else "unknown-label",
        N_("{wall:.2f} s passed and {cpu:.2f} s of processor time were used; you say {answer!r}"),
        expected=N_("four threads of a function that {label} give such times"),
        advice=N_("How many cores worked on average? That is cpu_s / wall_s."),
        wall=wall_s,
        cpu=cpu_s,
        answer=answer,
        label=PHRASES[label],
    )
