"""A recorded run as a scenario for the simulator: its arrivals, durations and faults.

What the recording tells is taken as it is: when each task was submitted, by whom, how long its winner
computed, what was done to which worker and when, when a worker joined and with how many slots. The rest is
estimated:

* A worker's slowness: how long it needs for a kind of task beside the fastest worker. It can be told only if
  tasks of one kind take about the same time on one worker; where they are uneven, all workers count as equal.
* How long a task would have taken that has no result: as long as it was seen to run, or the usual time.

Not in a recording, and so not in a replay: the delays of links, how long the processes needed for a turn,
what a task needed of the machine while others ran beside it. `figures` says how far a replay is from its
recording.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Final

from labkit.core import history as h
from labkit.core.broker.policies import Policy
from labkit.core.errors import N_, InvalidInput
from labkit.core.history import Event, History, LedgerRow
from labkit.core.protocol.rules import Rules
from labkit.simulation.recorded_faults import strikes_of
from labkit.simulation.run import Run, simulate
from labkit.simulation.scenario import AMPLE_S, Place, Scenario, work
from labkit.simulation.work import Work

BEGIN_S: Final = 1.0
"""Of virtual time before the first task is submitted; the broker starts and the workers join."""
JOIN_S: Final = 0.4, 0.8
"""When the workers that are there at the first task are started, in the order in which they joined."""
MOST_S: Final = 1800.0
MOST_TASKS: Final = 100_000
USUAL_S: Final = 0.05
"""A task of which nothing is known computes for this long."""
EVEN: Final = 0.3
"""Tasks of one kind are even on a worker if half of them differ from the median by at most this part."""
SLOWER: Final = 1.3
"""A worker counts as slower from this factor on; less is chance."""
ATTEMPTS: Final = frozenset({h.DISPATCHED, h.STARTED, h.REQUEUED, h.DONE})
FEWEST: Final = 3
"""Results of one kind that a worker must have for a statement about its speed."""


@dataclass(frozen=True)
class Recorded:
    """What a recording gives the simulator. Times of the scenario are virtual seconds."""

    scenario: Scenario
    policy: str
    """The broker's policy; empty if the recording does not name it."""
    ends_at: float
    """When the recorded run had its last outcome, in the scenario's time."""
    lease_s: float
    """After which a task counts as hung: as long as hung tasks were seen to run, else the usual lease."""


def read(history: History) -> Recorded:
    """Return the scenario of a recorded run. Raises InvalidInput if the events do not tell enough."""
    rows = [row for row in history.ledger() if row.submitted is not None]
    _require_whole(history, rows)
    first = min(row.submitted for row in rows if row.submitted is not None)
    shift = BEGIN_S - first - history.began_at  # from the broker's clock to the scenario's
    slowness = slowness_of(history, rows)
    places = _places(history, slowness, shift)
    works = _works(history, rows, slowness, shift)
    last = max((row.ended for row in rows if row.ended is not None), default=history.duration_s)
    policies = [event.detail.get("policy") for event in history.events if event.kind == h.BROKER_STARTED]
    scenario = Scenario(
        works,
        places,
        strikes_of(history, shift),
        {bytes.fromhex(row.task): row.client or "client" for row in rows},
        ends_with_its_tasks=True,
    )
    return Recorded(
        scenario,
        str(policies[0] or "") if policies else "",
        last + history.began_at + shift,
        _lease_s(history, rows, works, max(slowness.values())),
    )


def changed(recorded: Recorded, workers: int | None = None, without_faults: bool = False) -> Scenario:
    """Return a recording's scenario on another number of workers, or without what was done to them.

    Workers beyond the recorded ones have the slots of the first and are as fast as the fastest.
    """
    scenario = recorded.scenario
    if without_faults:
        works = [one._replace(behaviour="fine") if _is_fault(one) else one for one in scenario.works]
        scenario = replace(scenario, works=works, strikes=())
    if workers is not None:
        places = list(scenario.places[:workers])
        names = {place.name for place in places}
        free = (name for n in range(1, 10 * MOST_TASKS) if (name := f"worker-{n}") not in names)
        places += [Place(scenario.places[0].slots, name=next(free)) for _ in range(workers - len(places))]
        scenario = replace(scenario, places=places)
    return scenario


def _is_fault(one: Work) -> bool:
    return one.behaviour in ("hangs", "poison")


def replay(recorded: Recorded, scenario: Scenario, policy: str | Policy, seed: int = 1) -> Run:
    """Return the simulated run of a recording's scenario."""
    lease_s = recorded.lease_s
    total_s = sum(one.compute_s for one in scenario.works) * max(place.slowness for place in scenario.places)
    ends_at = max([recorded.ends_at, *(strike.at for strike in scenario.strikes)])
    hung = sum(one.behaviour == "hangs" for one in scenario.works)
    return simulate(
        seed,
        faults=(),
        policy=policy,
        rules=replace(Rules(), lease_s=lease_s),
        safety_s=ends_at + total_s + (hung + 1) * 3 * lease_s,
        scenario=scenario,
    )


def history_of(run: Run) -> History:
    """Return a replay's history up to its last outcome: what follows is the simulator's own end."""
    last = max((number for number, event in enumerate(run.history) if event.kind in h.OUTCOMES), default=-1)
    return from_first_task(run.history[: last + 1])


def began_again_at(run: Run) -> float | None:
    """Return when the simulator itself started the workers again, because tasks were open and all were gone.

    In seconds since the first task. None if the replay ended without that, as the recorded run did.
    """
    late = [event.at for event in run.history if event.kind in h.OUTCOMES and event.at > run.healed_at]
    return run.healed_at - BEGIN_S if late else None


def from_first_task(events: Sequence[Event]) -> History:
    """Return the part of a run that begins with its first task, so that two runs have the same zero."""
    return History(h.excerpt(events, {event.task for event in events if event.kind == h.SUBMITTED}))


# --- what the events tell -----------------------------------------------------------------------------------


def _require_whole(history: History, rows: Sequence[LedgerRow]) -> None:
    """Raise InvalidInput unless the recording can be replayed."""
    if not any(event.kind in h.KINDS and event.kind != h.GAP for event in history.events):
        raise InvalidInput(N_("it holds no event of a cluster"))
    if any(
        later.kind == h.BROKER_STARTED and later.at < earlier.at - 1.0
        for earlier, later in pairwise(history.events)
    ):
        raise InvalidInput(N_("its clock goes back: it holds runs of two starts of the machine; keep one"))
    if not history.has_gaps:
        _require_beginning(history.events)
    if not rows:
        raise InvalidInput(N_("no task was submitted in it"))
    if not history.slots():
        raise InvalidInput(N_("no worker joined in it"))
    if history.duration_s > MOST_S or len(rows) > MOST_TASKS:
        raise InvalidInput(
            N_("it has {tasks} tasks in {seconds:.0f} s; a replay has at most {most} in {most_s:.0f} s"),
            tasks=len(rows),
            seconds=history.duration_s,
            most=MOST_TASKS,
            most_s=MOST_S,
        )


def _require_beginning(events: Iterable[Event]) -> None:
    """Raise InvalidInput if a task or a worker appears of which the beginning is missing."""
    submitted, known = set(), set()
    for event in events:
        if event.kind == h.SUBMITTED:
            submitted.add(event.task)
        elif event.kind == h.JOINED:
            known.add(event.worker)
        elif event.kind in ATTEMPTS and event.task not in submitted:
            raise InvalidInput(
                N_("it begins in the middle of a run: the submission of task {task} is missing"),
                task=event.task[:8],
            )
        elif event.kind in ATTEMPTS and event.worker and event.worker not in known:
            raise InvalidInput(
                N_("it begins in the middle of a run: the joining of {worker} is missing"),
                worker=event.worker,
            )


def _places(history: History, slowness: Mapping[str, float], shift: float) -> list[Place]:
    """Return the workers; one that joined after the first task is started then.

    The order counts: of equal workers, a policy often chooses the one that it has known longest.
    """
    joined: dict[str, Event] = {}
    for event in history.events:
        if event.kind == h.JOINED:
            joined.setdefault(event.worker, event)
    places = []
    order = sorted(history.slots(), key=lambda name: joined[name].at if name in joined else history.began_at)
    first_s, last_s = JOIN_S
    for name, slots in history.slots().items():
        able = str(joined[name].detail.get("capabilities") or "") if name in joined else ""
        at = joined[name].at + shift if name in joined else 0.0
        capabilities = frozenset(word for word in able.split(",") if word)
        if at <= BEGIN_S:
            at = first_s + (last_s - first_s) * order.index(name) / len(order)
        places.append(Place(slots, slowness.get(name, 1.0), name, capabilities, at))
    return places


def slowness_of(history: History, rows: Iterable[LedgerRow]) -> dict[str, float]:
    """Return how many times as long each worker needs as the fastest one, as far as that can be told."""
    took: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.outcome == h.DONE and row.compute_s and row.compute_s > 0:
            took[row.job][row.winner].append(row.compute_s)
    factors: dict[str, list[float]] = defaultdict(list)
    for by_worker in took.values():
        enough = {name: seconds for name, seconds in by_worker.items() if len(seconds) >= FEWEST}
        if len(enough) < 2 or not all(map(_is_even, enough.values())):
            continue
        usual = {name: median(seconds) for name, seconds in enough.items()}
        fastest = min(usual.values())
        for name, seconds_s in usual.items():
            factors[name].append(seconds_s / fastest)
    found = {name: median(of) for name, of in factors.items()}
    return {name: found[name] if found.get(name, 1.0) >= SLOWER else 1.0 for name in history.slots()}


def _is_even(seconds: Sequence[float]) -> bool:
    middle = median(seconds)
    return median(abs(one - middle) for one in seconds) <= EVEN * middle


def _works(
    history: History, rows: Sequence[LedgerRow], slowness: Mapping[str, float], shift: float
) -> list[Work]:
    """Return the tasks in the order of their submission."""
    ran: dict[str, float] = {}  # the longest that an attempt was seen to run, on the fastest worker
    for name, intervals in history.intervals().items():
        for bar in intervals:
            ran[bar.task] = max((bar.end - bar.start) / slowness.get(name, 1.0), ran.get(bar.task, 0.0))
    needs = {
        event.task: str(event.detail.get("needs") or "")
        for event in history.events
        if event.kind == h.SUBMITTED
    }
    by_job: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.outcome == h.DONE and row.compute_s is not None:
            by_job[row.job].append(row.compute_s / slowness.get(row.winner, 1.0))
    usual = {job: median(seconds) for job, seconds in by_job.items()}
    works = []
    for row in rows:
        assert row.submitted is not None
        if row.outcome == h.DONE and row.compute_s is not None:
            compute_s = row.compute_s / slowness.get(row.winner, 1.0)
        else:
            compute_s = ran.get(row.task) or usual.get(row.job, USUAL_S)
        begun = row.submitted + history.began_at + shift
        one = work(bytes.fromhex(row.task), max(compute_s, 1e-6), begun)
        works.append(_as_it_ended(one, row, usual)._replace(job=row.job, needs=needs.get(row.task, "")))
    return works


def _lease_s(history: History, rows: Iterable[LedgerRow], works: Iterable[Work], slowest: float) -> float:
    """Return after how long a task counts as hung. No task that has a result may reach it in a replay."""
    hung = {row.task for row in rows if row.code == "HUNG"}
    bars = [bar for of_worker in history.intervals().values() for bar in of_worker if bar.task in hung]
    seen_s = max((bar.end - bar.start for bar in bars), default=0.0) or Rules().lease_s
    return max(seen_s, 2 * slowest * max((one.compute_s for one in works), default=0.0))


BEHAVIOURS: Final = {"ERROR": "raises", "HUNG": "hangs", "POISONED": "poison"}


def _as_it_ended(one: Work, row: LedgerRow, usual: Mapping[str, float]) -> Work:
    """Return a task that also ends as the recorded one, if that was of its own making."""
    if row.ended is None or row.submitted is None:
        return one
    open_s = row.ended - row.submitted
    if row.outcome == h.CANCELLED:
        return one._replace(cancel_at=one.submit_at + open_s)
    if row.outcome == h.FAILED and row.code in ("DEADLINE", "NO_WORKER"):
        return one._replace(budget_s=open_s)
    behaviour = BEHAVIOURS.get(row.code, "fine")
    if behaviour == "hangs":  # what it would take without hanging is anybody's guess
        one = one._replace(compute_s=usual.get(row.job, USUAL_S))
    return one._replace(behaviour=behaviour, budget_s=AMPLE_S)


# --- how far apart two runs are -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What a run cost. Times in seconds."""

    makespan_s: float | None
    """From the first submission to the last outcome; None if no task ended."""
    waiting_p95_s: float | None
    """From submission to first start: 95 of 100 tasks waited at most this long; None if none started."""
    requeued: int
    share: Mapping[str, int]
    """Results per worker."""


def figures(history: History) -> Figures:
    """Return the figures of a history that begins with its first task (`from_first_task`)."""
    starts: dict[str, float] = {}
    for intervals in history.intervals().values():
        for one in intervals:
            starts[one.task] = min(one.start, starts.get(one.task, one.start))
    rows = history.ledger()
    waits = sorted(
        max(0.0, starts[row.task] - row.submitted)
        for row in rows
        if row.submitted is not None and row.task in starts
    )
    return Figures(
        max((row.ended for row in rows if row.ended is not None), default=None),
        waits[int(0.95 * (len(waits) - 1))] if waits else None,
        history.counts().get(h.REQUEUED, 0),
        history.share(),
    )


@dataclass(frozen=True)
class Distance:
    """How far a replay of the same policy, workers and faults is from its recording."""

    makespan: float
    """The replay's makespan beside the recorded one: 0.05 is 5 % longer."""
    task_s: float
    """Half of the tasks end closer than this to their recorded instant, in seconds."""
    task_p95_s: float
    """95 of 100 do."""


def distance(recorded: History, replayed: History) -> Distance:
    """Return how far apart two histories of the same tasks are; both begin with the first task."""
    ended = {row.task: row.ended for row in recorded.ledger()}
    apart = sorted(
        abs(row.ended - at)
        for row in replayed.ledger()
        if row.ended is not None and (at := ended.get(row.task)) is not None
    )
    before, after = figures(recorded).makespan_s, figures(replayed).makespan_s
    return Distance(
        after / before - 1 if before and after is not None else 0.0,
        median(apart) if apart else 0.0,
        apart[int(0.95 * (len(apart) - 1))] if apart else 0.0,
    )
