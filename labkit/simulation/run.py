"""One simulated run from a seed: ``simulate(seed, ...) -> Run``.

The same arguments give the same run, to the last event: in another process, on another machine, on another
day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from labkit.core.broker.policies import Policy
from labkit.core.errors import N_, InvariantBroken
from labkit.core.history import Event
from labkit.core.history.check import check
from labkit.core.protocol.rules import Rules
from labkit.simulation import strikes
from labkit.simulation.clients import Outcome
from labkit.simulation.faults import BEHAVIOURS, FAULTS, checked
from labkit.simulation.parts import Parts
from labkit.simulation.scenario import Scenario
from labkit.simulation.violation import Violation
from labkit.simulation.work import plan
from labkit.simulation.world import World

DEFAULT_FAULTS: Final = ("kill", "pause", "partition")
RULES: Final = Rules(lease_s=3.0, drain_s=2.0)
"""The rules of a class, with shorter leases, so that hung tasks do not take most of the run."""
SAFETY_S: Final = 12.0
RECENT: Final = 25


@dataclass(frozen=True)
class Run:
    """The result of a simulated run. Times are virtual seconds since it began."""

    seed: int
    workers: int
    tasks: int
    faults: tuple[str, ...]
    policy: str
    history: list[Event]
    violations: list[Violation]
    outcomes: dict[str, Outcome]
    """What the clients received, by the task's 32 hex digits; without some tasks of clients that vanished."""
    healed_at: float
    """When the faults stopped."""
    ended_at: float
    steps: int
    counters: Counter[str]
    """The last broker's counters."""
    thorough: bool = False
    wire: bool = False

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    @property
    def command(self) -> str:
        """Return the command that shows this run again."""
        policy = "" if self.policy == "least_busy" else f" --policy {self.policy}"
        return (
            f"python -m labkit simulate --seed {self.seed} --workers {self.workers} --tasks {self.tasks}"
            f" --faults {','.join(self.faults) or 'none'}{policy}"
            f"{' --thorough' if self.thorough else ''}{' --wire' if self.wire else ''}"
        )

    def report(self) -> str:
        """Return the violations with all that is needed to look into them, in English."""
        lines = [f"seed {self.seed}, faults {', '.join(self.faults) or 'none'}"]
        for violation in self.violations:
            lines.append(f"at {violation.at:.4f} s: {violation.invariant}: {violation.why}")
        lines.append(f"the last {RECENT} events before it:")
        for event in self.history[-RECENT:]:
            detail = " ".join(f"{key}={value}" for key, value in event.detail.items())
            attempt = f"#{event.attempt}" if event.attempt else ""
            lines.append(f"  {event.at:9.4f} {event.kind:<12} {event.task}{attempt} {event.worker} {detail}")
        lines.append(f"again: {self.command}")
        return "\n".join(lines)

    def require_ok(self) -> Run:
        """Return the run itself, or raise InvariantBroken with the report."""
        if self.violations:
            raise InvariantBroken(N_("a promise was broken:\n{report}"), report=self.report())
        return self


def simulate(
    seed: int,
    workers: int = 5,
    tasks: int = 200,
    faults: Sequence[str] = DEFAULT_FAULTS,
    policy: str | Policy = "least_busy",
    rules: Rules | None = None,
    safety_s: float = SAFETY_S,
    thorough: bool = False,
    wire: bool = False,
    parts: Parts | None = None,
    scenario: Scenario | None = None,
) -> Run:
    """Run a cluster of ``workers`` and ``tasks`` under a seeded choice of faults and return what happened.

    ``policy`` is a name of ``labkit.core.broker.policies`` or a function of the learner's own. ``thorough``
    compares all tables after every event (slow), ``wire`` sends every message as its bytes. A ``scenario``
    replaces ``workers`` and ``tasks``. Raises InvalidInput for an unknown fault.
    """
    names = checked(tuple(faults))
    rules = rules or RULES
    if "flood" in names:
        rules = replace(rules, max_client_tasks=12, max_queued_tasks=10, max_client_bytes=25 << 20)
    behaviours = [behaviour for name in names for behaviour in BEHAVIOURS.get(name, ())]
    works = list(scenario.works) if scenario is not None else plan(
        Random(f"{seed} work"), tasks, safety_s * 0.7, rules.lease_s, behaviours, cancels="cancel" in names,
        bulk_share=0.08 if "slow" in names else 0.02,
    )  # fmt: skip
    if scenario is not None:
        workers, tasks = len(scenario.places), len(works)
    world = World(seed, workers, works, policy, rules, safety_s, thorough, wire, parts or Parts(), scenario)
    for strike in scenario.strikes if scenario is not None else ():
        world.loop.at(strike.at, strikes.carry_out, world, strike)
    for name in names:
        schedule_strikes = FAULTS[name].plan
        if schedule_strikes is not None:
            schedule_strikes(world, world.random(f"fault {name}"))
    violation = world.run()
    outcomes = [client.outcomes for client in world.clients]
    return Run(
        seed=seed,
        workers=workers,
        tasks=tasks,
        faults=names,
        policy=policy if isinstance(policy, str) else getattr(policy, "__name__", "?"),
        history=world.broker.history,
        violations=[violation] if violation is not None else _check_history(world),
        outcomes={task.hex(): outcome for mine in outcomes for task, outcome in mine.items()},
        healed_at=safety_s,
        ended_at=world.loop.now,
        steps=world.loop.steps,
        counters=world.broker.scheduler.counters if world.broker.up else Counter(),
        thorough=thorough,
        wire=wire,
    )


def _check_history(world: World) -> list[Violation]:
    """Return what the checker of recorded histories finds; it reads nothing but the events.

    It cannot see that a client gave a task up itself because no broker reported on it in time.
    """
    known = {task.hex() for client in world.clients for task in client.outcomes}
    vanished = any(not client.alive for client in world.clients)
    found = check(world.broker.history, 0.0, ended=not vanished)
    return [
        Violation(violation.rule, violation.at, str(violation))
        for violation in found
        if violation.rule != "no_outcome" or violation.task not in known
    ]
