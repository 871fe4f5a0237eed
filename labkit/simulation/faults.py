"""The faults of a simulated cluster, each kind under the name by which it is asked for.

A fault's *plan* schedules some strikes; what a strike does stands in ``strikes.py`` and ``garbage.py``.

Six kinds have no strikes. ``hang``, ``lock``, ``poison`` and ``error`` are what some tasks do when they are
computed (``work.py``). With ``cancel`` the clients cancel some tasks, and with ``flood`` the quotas are so
small that clients exceed them (``run.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from labkit.core.errors import N_, InvalidInput
from labkit.simulation import strikes
from labkit.simulation.garbage import garbage
from labkit.simulation.world import World


class Fault(NamedTuple):
    """A kind of fault: what it does, for people, and its plan of strikes (None: the tasks carry it)."""

    what: str
    plan: Callable[[World, Random], None] | None = None


def _at(world: World, random: Random, most: int, strike: Callable[[World, Random], None]) -> None:
    """Let something strike one to ``most`` times while faults are allowed."""
    for _ in range(random.randint(1, most)):
        world.loop.at(random.uniform(0.05, world.safety_s * 0.9), _strike, world, random, strike)


def _strike(world: World, random: Random, strike: Callable[[World, Random], None]) -> None:
    if not world.faults_over:
        strike(world, random)


def _plan(most: int, strike: Callable[[World, Random], None]) -> Callable[[World, Random], None]:
    return lambda world, random: _at(world, random, most, strike)


FAULTS: Final[dict[str, Fault]] = {
    "kill": Fault(N_("a worker is killed and started again"), _plan(4, strikes.kill)),
    "storm": Fault(N_("workers are killed one after the other, for seconds"), _plan(2, strikes.storm)),
    "pause": Fault(N_("a worker is frozen for a while"), _plan(3, strikes.pause)),
    "partition": Fault(N_("a link is cut, one way or both, and mended"), _plan(3, strikes.partition)),
    "break": Fault(N_("a connection breaks under two living ends"), _plan(5, strikes.break_connection)),
    "slow": Fault(N_("a worker computes slowly, or its link is slow"), _plan(3, strikes.slow)),
    "drain": Fault(N_("a worker is asked to stop, and started again"), _plan(3, strikes.drain)),
    "autoscale": Fault(N_("an autoscaler starts and drains workers as the work asks"), strikes.autoscale),
    "duplicate": Fault(
        N_("a second worker with the id of another one is started"), _plan(2, strikes.duplicate)
    ),
    "hang": Fault(N_("some tasks never end")),
    "lock": Fault(N_("some tasks keep the interpreter lock, for seconds or for ever")),
    "poison": Fault(N_("some tasks kill their worker")),
    "error": Fault(N_("some tasks raise an exception")),
    "nest": Fault(N_("some tasks submit a task to the same cluster and wait for it")),
    "broker_restart": Fault(
        N_("the broker is killed and a new one started"), _plan(2, strikes.broker_restart)
    ),
    "broker_freeze": Fault(N_("the broker is frozen for a while"), _plan(2, strikes.broker_freeze)),
    "client_vanish": Fault(N_("a client is killed"), _plan(1, strikes.client_vanish)),
    "client_pause": Fault(N_("a client is frozen for a while"), _plan(2, strikes.client_pause)),
    "cancel": Fault(N_("some tasks are cancelled by their clients")),
    "flood": Fault(N_("quotas are small, so that clients hear BUSY")),
    "garbage": Fault(
        N_("the broker gets messages that are forged, stale or out of place"), _plan(4, garbage)
    ),
}
BEHAVIOURS: Final = {
    "hang": ("hangs",), "lock": ("locks", "stalls"), "poison": ("poison",), "error": ("raises",),
    "nest": ("nests",),
}  # fmt: skip


def checked(faults: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names themselves, or raise InvalidInput for one that is unknown."""
    for name in faults:
        if name not in FAULTS:
            raise InvalidInput(
                N_("fault {name!r} is unknown; known: {known}"), name=name, known=", ".join(sorted(FAULTS))
            )
    return faults


def mix(seed: int) -> tuple[str, ...]:
    """Return a seed's own mix of faults: mostly a few kinds together, sometimes all, sometimes none."""
    random = Random(f"{seed} mix")
    names = sorted(FAULTS)
    count = random.choice((0, 1, 2, 3, 3, 4, 5, 6, 8, len(names)))
    return tuple(sorted(random.sample(names, count)))
