"""Weighing: do workers die with a task, or do they die anyway?

Part of ``blame``, the only module that imports this one. A task that was running in ``max_crashes`` workers
when they died is a suspect, but not yet guilty: where workers are killed at random, some task is hit three
times. So its deaths are compared with the deaths *without it* in the same time::

    rate      = deaths without it / worker-seconds without it      (how often workers die anyway)
    expected  = rate * the seconds that it ran                     (deaths that chance alone explains)
    chance    = expected ** crashes / crashes!                     (the first term of Poisson's law)

It is guilty if ``chance`` is below ``GUILTY_BELOW``. So a task that kills at once is found in the middle of a
storm as well, after a few crashes more, and without any other death nothing changes: the third crash decides.

A death without it counts only if nothing else explains it:

* a worker that held nothing died anyway; so did one whose tasks have all been computed to their end since,
  because a task that ends elsewhere did not kill it;
* a death with another task that is poison, or one crash away from it and never forgiven, is that task's;
* as long as any other task of that worker is open, the death is *undecided*. If such a task is cancelled or
  reaches its deadline, that never changes: the death does not count.

Where many tasks look like poison at once, a storm is likelier than so many poisonous tasks. If at least
``EPIDEMIC`` different tasks would have to be guilty of the other deaths, as many deaths count after all as
have no possible culprit in common.

Fewer than ``HABIT`` deaths are not counted. Recent crashes that were forgiven are
weighed again, so that a storm excuses a task once, not for ever. If ``HABIT`` more deaths would change the
verdict, the suspect waits: in ``dead_s`` seconds a storm shows itself. It waits ``PATIENCE`` times as long
for deaths that are undecided. No worker is risked meanwhile.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import factorial
from typing import Final, NamedTuple

from labkit.core.broker.records import OpenTask

GUILTY_BELOW: Final = 1e-6
"""How unlikely the deaths of a suspect must be as an accident. A long storm has a few hundred victims."""
HABIT: Final = 2
"""With at least this many deaths without the task, workers count as dying anyway."""
LEAST_RUN_S: Final = 0.05
"""A run counts as at least this long: a busy broker may receive start and death at the same time."""
EPIDEMIC: Final = 8
"""With at least this many culprits beside the suspect, a storm is the likelier cause."""
PATIENCE: Final = 3.0
"""How many times ``dead_s`` a suspect waits at most."""
LOOK_BACK_S: Final = 10.0
"""Deaths up to this long before the suspect's first one show how often workers die anyway."""


class Death(NamedTuple):
    """A worker whose connection broke without a goodbye."""

    at: float
    lived_s: float
    """What ``Lives`` showed at that moment."""
    ran_s: Mapping[bytes, float]
    """The tasks that had started in it, each with how long it had run; empty if none had."""
    held: tuple[bytes, ...]
    """All tasks that it had, started or not: the first start of a task may be unknown."""


class Lives:
    """How long all workers have lived, added up: a clock that runs once for each living worker."""

    def __init__(self, now: float) -> None:
        self.at = now  # of the last change
        self._total_s = 0.0
        self._living = 0

    def seconds(self, now: float) -> float:
        """Return the sum at this moment."""
        return self._total_s + self._living * (now - self.at)

    def change(self, living: int, now: float) -> None:
        """Note that from now on so many workers live."""
        self._total_s, self._living, self.at = self.seconds(now), living, now


class Weight(NamedTuple):
    """What speaks for a suspect: how likely its deaths are by accident."""

    chance: float
    at_most: float
    """How likely they would be with ``HABIT`` more deaths without it, and with those that are undecided."""
    undecided: int


def weigh(
    task: OpenTask,
    deaths: Mapping[bytes, Death],
    lived_s: float,
    tasks: Mapping[bytes, OpenTask],
    others: Container[bytes],
    max_crashes: int,
) -> Weight:
    """Return what speaks for this suspect.

    ``deaths`` are by the process that died; ``lived_s`` is what ``Lives`` shows now; ``tasks`` are open, and
    ``others`` are tasks that are over and may have killed their workers.
    """
    crashes = [deaths[instance] for instance in task.crashed if instance in deaths]
    if not crashes:
        return Weight(0.0, 0.0, 0)
    since = min(death.at for death in crashes) - LOOK_BACK_S
    recent = [death for death in deaths.values() if death.at >= since]
    own = [death for death in recent if task.id in death.ran_s]
    ran_s = sum(death.ran_s[task.id] for death in own)
    counted_s = sum(max(death.ran_s[task.id], LEAST_RUN_S) for death in own)
    without_s = lived_s - min(death.lived_s for death in recent) - ran_s
    proven = undecided = 0
    culprits: list[frozenset[bytes]] = []  # by death without it: the tasks that may be guilty
    for death in recent:
        if task.id in death.held:
            continue
        if possible := frozenset(other for other in death.held if other in tasks or other in others):
            culprits.append(possible)
        if any(other in others for other in death.held):
            continue
        suspects = [tasks[other] for other in death.held if other in tasks]
        if any(other.crashes >= max(2, max_crashes - 1) and not other.forgiven for other in suspects):
            continue
        if suspects:
            undecided += 1
        else:
            proven += 1
    different = _without_common_culprit(culprits)
    if different >= EPIDEMIC:
        proven += different
    return Weight(
        _chance(len(own), proven, counted_s, without_s),
        _chance(len(own), proven + undecided + HABIT, ran_s, without_s),
        undecided,
    )


def _without_common_culprit(deaths: list[frozenset[bytes]]) -> int:
    """Return for how many of these deaths different tasks must be guilty, at least."""
    taken: set[bytes] = set()
    count = 0
    for possible in sorted(deaths, key=len):
        if taken.isdisjoint(possible):
            taken |= possible
            count += 1
    return count


def _chance(crashes: int, others: int, ran_s: float, without_s: float) -> float:
    """Return how likely so many crashes are if workers die as often with the task as without it."""
    if others < HABIT or ran_s <= 0.0:
        return 0.0
    expected = others * ran_s / max(without_s, 1e-3 * ran_s)
    return float(expected**crashes / factorial(crashes))
