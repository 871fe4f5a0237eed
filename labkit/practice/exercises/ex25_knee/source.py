"""{title}"""

from __future__ import annotations

from collections.abc import Callable

from labkit.practice.load import Measured


def follows(step: Measured, usual_s: float) -> bool:
    # SOLUTION
    return step.done > 0.9 * step.offered and step.p95_s < 3 * usual_s
    # STUB
    # return step.done > 0.5 * step.offered
    # END


def find_knee(measure: Callable[[float], Measured], start: float) -> float:
    # SOLUTION
    usual_s = measure(start).p95_s
    below, above = start, 1.5 * start
    while follows(measure(above), usual_s):
        below, above = above, 1.5 * above
    while above > 1.1 * below:
        middle = (below + above) / 2
        if follows(measure(middle), usual_s):
            below = middle
        else:
            above = middle
    return below
    # STUB
    # usual_s = measure(start).p95_s
    # rate = 2 * start
    # while follows(measure(rate), usual_s):
    #     rate = 2 * rate
    # return rate
    # END
