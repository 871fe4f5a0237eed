"""Three kinds of work, told apart by two clocks.

Simulated: made-up measurements of four threads on two to eight cores. Real: three functions are measured in
the learner's process, then the learner's function labels them. A machine that did not give two cores to the
threads cannot show the difference.
"""

from __future__ import annotations

from random import Random

from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding, Inconclusive

LABELS = ("waits", "holds", "releases")


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
        wall_s, cpu_s = learner.play("measure", label, limit_s=6.0)
        used = cpu_s / wall_s
        if (label == "releases" and used < 1.7) or (label == "holds" and used < 0.8):
            raise Inconclusive(
                N_("this machine gave {threads} threads only {used:.1f} cores: too few to tell"),
                threads=4,
                used=used,
            )
        _judge(learner, label, wall_s, cpu_s)


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
        label={"waits": N_("waits"), "holds": N_("holds the GIL"), "releases": N_("releases the GIL")}[label],
    )
