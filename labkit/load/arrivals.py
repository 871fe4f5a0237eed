"""When the tasks of a load arrive: planned before it begins, from a seed. Pure.

The plan is open-loop: an instant does not depend on how the cluster copes. A slow cluster cannot hide by
slowing its generator down, because waiting counts from the planned instant (coordinated omission, as Gil Tene
calls it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from labkit.core.errors import N_, InvalidInput

SIMPLE, BURST, CONTINUOUS, SUSTAINED, RAMP = "simple", "burst", "continuous", "sustained", "ramp"
PATTERNS = {
    SIMPLE: N_("so many tasks, evenly spaced"),
    BURST: N_("a burst of tasks at the same instant, every two seconds"),
    CONTINUOUS: N_("tasks that arrive by chance (Poisson), as from many people"),
    SUSTAINED: N_("evenly spaced tasks for a long time"),
    RAMP: N_("more and more, until the cluster no longer follows: finds the knee"),
}
"""The patterns of the course, and one that searches."""
BURST_EVERY_S = 2.0
MOST_TASKS = 100_000
MOST_RATE = 100_000
LONGEST_S = 3_600


@dataclass(frozen=True)
class Load:
    """A pattern with its numbers: ``rate`` in tasks per second, ``seconds`` how long tasks arrive.

    Raises InvalidInput for numbers that give no load, or too much of it.
    """

    pattern: str
    rate: float
    seconds: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise InvalidInput(
                N_("there is no load {pattern!r}; known: {known}"),
                pattern=self.pattern,
                known=", ".join(PATTERNS),
            )
        if not (self.rate > 0 and self.seconds > 0):  # NaN is neither
            raise InvalidInput(
                N_("{rate:g} tasks per second for {seconds:g} s are no load; both must be more than 0"),
                rate=self.rate,
                seconds=self.seconds,
            )
        if self.seconds > LONGEST_S:
            raise InvalidInput(
                N_("a load of {seconds:.0f} s is too long; at most {most} s are possible"),
                seconds=self.seconds,
                most=LONGEST_S,
            )
        if self.rate > MOST_RATE:
            raise InvalidInput(
                N_("{rate:.0f} tasks per second are too many; at most {most} are possible"),
                rate=self.rate,
                most=MOST_RATE,
            )
        if self.rate * self.seconds > MOST_TASKS:
            raise _too_many(round(self.rate * self.seconds))

    @classmethod
    def of_tasks(cls, pattern: str, tasks: int, rate: float, seed: int = 0) -> Load:
        """Return a load of about ``tasks`` tasks; exactly so many if they do not arrive by chance."""
        if tasks < 1:
            raise InvalidInput(N_("{tasks} tasks are no load"), tasks=tasks)
        if tasks > MOST_TASKS:  # checked first: the caller gave this number, and neither rate nor length
            raise _too_many(tasks)
        return cls(pattern, rate, tasks / rate if rate > 0 else 0.0, seed)

    def arrivals(self) -> list[float]:
        """Return the planned instants, ascending, in seconds since the load began."""
        count = max(1, round(self.rate * self.seconds))
        if self.pattern == CONTINUOUS:
            return list(_by_chance(self.rate, self.seconds, Random(f"labkit load {self.seed}")))
        if self.pattern == BURST:
            size = max(1, round(self.rate * BURST_EVERY_S))
            return [BURST_EVERY_S * (number // size) for number in range(count)]
        return [number / self.rate for number in range(count)]


def _too_many(tasks: int) -> InvalidInput:
    return InvalidInput(
        N_("{n} tasks are too many for one load; at most {most} are possible"), n=tasks, most=MOST_TASKS
    )


def _by_chance(rate: float, seconds: float, random: Random) -> Iterator[float]:
    at = random.expovariate(rate)
    yield min(at, seconds / 2)  # at least one task
    while (at := at + random.expovariate(rate)) < seconds:
        yield at
