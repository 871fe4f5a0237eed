"""The script of a simulated run: which worker registers, beats, freezes, leaves or comes back, and when.

Times are counted in heartbeats and moved by a quarter of one. Interruptions are by another worker than the
one that is interrupted, so that the order of the two makes no difference to what the registry must answer.
"""

from __future__ import annotations

from random import Random
from typing import Any

STEPS_PER_BEAT, BEATS = 4, 20
SLOW_STEPS = 11
"""From one heartbeat of the slow worker to the next: 2.75 heartbeats."""


def script_of(random: Random, beat_s: float) -> list[list[Any]]:
    """Return the acts of one run, see ``rehearse`` in play.py."""
    steady, slow, dying, leaving, late = (f"worker-{n}" for n in random.sample(range(1, 10), 5))
    dies, leaves, comes = random.randint(8, 20), random.randint(12, 40), random.randint(12, 40)
    returns = dies + random.randint(26, 34)
    acts: list[list[Any]] = []

    def at(step: int, what: str, worker: str = "", interruption: list[Any] | None = None) -> list[Any]:
        return [what, worker, step * beat_s / STEPS_PER_BEAT, interruption]

    first, second = random.sample((steady, slow, dying, leaving), 2)
    acts.append(at(0, "register", first, [random.randint(1, 2), at(0, "register", second)]))
    acts += [at(0, "register", one) for one in (steady, slow, dying, leaving) if one not in (first, second)]
    acts.append(at(0, "active"))
    for step in range(1, STEPS_PER_BEAT * BEATS):
        check = at(step, "check")
        if step == comes:
            acts.append(at(step, "beat", steady, [1, at(step, "register", late)]))
        elif step % STEPS_PER_BEAT == 0:
            acts.append(at(step, "beat", steady))
            acts += [at(step, "beat", late)] if step > comes else []
        if step % SLOW_STEPS == 0:
            check[3] = [random.randint(1, 2), at(step, "beat", slow)]
        if step % STEPS_PER_BEAT == 1:
            acts += [at(step, "beat", leaving)] if step < leaves else []
            acts += [at(step, "beat", dying)] if step < dies else []
        if step == leaves:
            acts.append(at(step, "leave", leaving))
        if step == returns:
            acts += [at(step, "beat", dying), at(step, "register", dying)]
        if step > returns and step % STEPS_PER_BEAT == 3:
            acts.append(at(step, "beat", dying))
        acts += [check, at(step, "active")]
    return acts
