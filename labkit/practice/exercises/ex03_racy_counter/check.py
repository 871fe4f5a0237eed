"""A racy counter, mended: the total is exact although threads change in the middle of ``add``.

How many threads add, how often and which amounts, is random; where they are interrupted, too (see play.py).
"""

from __future__ import annotations

import random

from labkit.core.errors import N_
from labkit.practice.learner import Learner
from labkit.practice.verdict import Finding

THREADS, ADDITIONS = (2, 5), 40
CALL_S = 4.0


def simulated(learner: Learner, seed: int) -> None:
    """Compare the counter with the sum of what was added."""
    chance = random.Random(seed)
    threads = chance.randint(*THREADS)
    times = ADDITIONS // threads + chance.randint(0, 3)
    amounts = [[chance.randint(1, 9) for _time in range(times)] for _thread in range(threads)]
    total = sum(map(sum, amounts))
    value = learner.play("run", amounts, seed, limit_s=CALL_S, known_as="add")
    if isinstance(value, bool) or not isinstance(value, int):
        raise Finding(
            "wrong-type",
            N_("the counter's value is of the type {kind}"),
            expected=N_("value is a whole number"),
            advice=N_("Keep the sum in self.value."),
            kind=type(value).__name__,
        )
    if value < total:
        raise Finding(
            "lost",
            N_(
                "{threads} threads added {total} in all, {times} times each; value is {value}, {lost} too few"
            ),
            expected=N_("value is {total}"),
            advice=N_(
                "From reading the value to writing it back, no other thread may come between: "
                "one lock for all threads, held all that while."
            ),
            threads=threads,
            times=times,
            total=total,
            value=value,
            lost=total - value,
        )
    if value > total:
        raise Finding(
            "too-much",
            N_("{threads} threads added {total} in all, {times} times each; value is {value}"),
            expected=N_("value is {total}"),
            advice=N_("Add each amount once."),
            threads=threads,
            times=times,
            total=total,
            value=value,
        )
