"""The learner's side: the function measures a cluster, and every step is noted."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

from labkit.client.client import Client
from labkit.practice.load import Measured, real_step, simulated_step
from labkit.security.credentials import Token

MOST_STEPS = 30
OFFERS = 0.7
"""Share of the rate that was asked for; a machine that submits less cannot find the knee."""


class TooMany(Exception):
    """More than ``MOST_STEPS`` measurements."""


class CannotOffer(Exception):
    """This machine does not submit as fast as it was asked to."""


class NotDone(Exception):
    """Not all tasks of a step have ended in time."""


def simulated(module: ModuleType, seed: int, slots: list[int], task_s: float, start: float) -> dict[str, Any]:
    """Let the learner's function measure a simulated cluster; return its answer and its steps."""
    return _search(module, start, lambda rate: (simulated_step(seed, slots, task_s, rate), []))


def real(module: ModuleType, address: str, secret: str, task_s: float, start: float) -> dict[str, Any]:
    """Let the learner's function measure the cluster at ``address``; return its answer and its steps."""
    with Client(address, Token(secret), name="stress") as client:
        return _search(module, start, lambda rate: real_step(client, task_s, rate))


def _search(
    module: ModuleType, start: float, step: Callable[[float], tuple[Measured, list[str]]]
) -> dict[str, Any]:
    steps: list[list[Any]] = []
    why = ""

    def measure(rate: float) -> Measured:
        nonlocal why
        if not (isinstance(rate, int | float) and math.isfinite(rate) and rate >= start / 10):
            raise ValueError(f"measure({rate!r}): a rate of at least {start / 10:g} tasks per second")
        if len(steps) == MOST_STEPS:
            why = "too-many"
            raise TooMany(f"more than {MOST_STEPS} measurements")
        highest = max((one[0] for one in steps), default=start)
        if rate > 2.01 * highest:  # not offered: the judge names it
            why = "jump"
            steps.append([float(rate), highest, 0.0, 0.0, []])
            raise TooMany(f"from {highest:g} to {rate:g}")
        try:
            seen, tasks = step(float(rate))
        except TimeoutError:
            why = "not-done"
            raise NotDone(f"at {rate:g} tasks per second") from None
        steps.append([float(rate), *seen, tasks])
        if seen.offered < OFFERS * rate:
            why = "cannot-offer"
            raise CannotOffer(f"{rate:g} tasks per second were asked for, {seen.offered:g} were submitted")
        return seen

    try:
        answer = module.find_knee(measure, start)
    except (TooMany, CannotOffer, NotDone):
        answer = None
    number = type(answer) in (int, float) and math.isfinite(answer)
    return {
        "answer": float(answer) if number else None,
        "kind": type(answer).__name__,
        "why": why,
        "steps": steps,
    }
