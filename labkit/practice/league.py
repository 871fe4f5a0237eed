"""A league of placement policies: the same seeds and workloads for all, and a table that explains the winner.

Each policy runs every round in the simulator: tasks of uneven length, unequal workers, and in half of the
rounds crashes. Everything is drawn from the round's seed, so that the same files give the same table on every
machine. A learner's policy runs in a process of its own, as in a check, and in a new one for each round: what
it remembers of one round is no help in the next. It sees numbers instead of the tasks' ids, which tell
nothing about a task, and copies of the workers, so that changing them changes nothing. A policy that takes
its time is out: while a broker's policy thinks, nothing else happens there.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from labkit.core import history as h
from labkit.core.broker.policies import POLICIES, Policy, TaskView, WorkerView
from labkit.core.errors import N_, InvalidInput, LabkitError
from labkit.core.history import Event
from labkit.practice.exercise import Exercise, find
from labkit.practice.learner import Learner
from labkit.practice.policies import Remote, SeenTask
from labkit.simulation import Run, simulate
from labkit.simulation.scenario import Place, Scenario, uneven
from labkit.support.text import Spoken

ROUNDS: Final = 12
TASKS: Final = 40
RUN_S: Final = 6.0
THINKING_S: Final = 2.0
"""Of a policy in one round, in real time: some fifty calls."""
CLASSROOM: Final = (Place(3), Place(), Place(slowness=3.0), Place(slowness=6.0))
EQUAL: Final = (Place(),) * 4


@dataclass(frozen=True)
class Entry:
    """One policy of the league."""

    name: str
    file: Path | None = None
    """The learner's file; None for one of labkit's own policies."""


@dataclass(frozen=True)
class Standing:
    """How one policy did over all rounds. Times in virtual seconds."""

    name: str
    makespan_s: float
    """From the first submission to the last outcome: the median of the rounds."""
    waiting_p95_s: float
    """From submission to start: the 95th percentile of all tasks."""
    fairness: float
    """Jain's index of the workers' busy time per slot: 1 is equal, 1/n is one worker for everything."""
    wasted_s: float
    """Computing that was done again after a loss, all rounds together."""
    violations: int
    failure: LabkitError | None = None
    """Why it is out of the league; None if it is not."""

    def as_json(self) -> dict[str, object]:
        """Return the fields, with the failure as an English sentence."""
        return {**asdict(self), "failure": "" if self.failure is None else str(self.failure)}


def entries(files: Iterable[Path]) -> list[Entry]:
    """Return labkit's policies and one entry per file. Raises InvalidInput for a file that does not exist."""
    found = [Entry(name) for name in POLICIES]
    for file in files:
        if not file.is_file():
            raise InvalidInput(N_("there is no file {file}"), file=file)
        found.append(Entry(_name(file), file))
    return found


def _name(file: Path) -> str:
    """Return what tells one learner's file from another's: its folder's name beside its own."""
    folder = file.resolve().parent
    owner = folder.parent if folder.name == "work" else folder
    return f"{owner.name}/{file.stem}"


def play(league: Sequence[Entry], rounds: int = ROUNDS) -> list[Standing]:
    """Return the standings, the best first: no violation, then the median makespan, then the waits."""
    standings = [_standing(entry, rounds) for entry in league]
    return sorted(
        standings,
        key=lambda one: (
            one.failure is not None,
            one.violations,
            round(one.makespan_s, 3),
            round(one.waiting_p95_s, 3),
            one.name,
        ),
    )


def _standing(entry: Entry, rounds: int) -> Standing:
    if entry.file is None:
        return _summary(entry.name, [_round(seed, entry.name) for seed in range(rounds)])
    runs = []
    for seed in range(rounds):
        with _LearnersFile(entry.file) as learner:
            policy = _Blindfolded(learner)
            runs.append(_round(seed, policy))
            if policy.failure is not None:
                return Standing(entry.name, 0.0, 0.0, 0.0, 0.0, 0, policy.failure)
    return _summary(entry.name, runs)


class _Blindfolded(Remote):
    """A policy that sees each task under a number, in the order in which it is first asked about it."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner)
        self._numbers: dict[bytes, bytes] = {}

    def __call__(self, task: TaskView, workers: Sequence[WorkerView], now: float) -> WorkerView | None:
        number = self._numbers.setdefault(task.id, b"task-%d" % (len(self._numbers) + 1))
        return super().__call__(SeenTask(number, task.job, task.attempt), workers, now)


class _LearnersFile(Learner):
    """A file somewhere, as the module of exercise 17 whose play.py calls ``choose``."""

    def __init__(self, file: Path) -> None:
        import tempfile

        self._folder = tempfile.TemporaryDirectory(prefix="labkit-league-")
        root = Path(self._folder.name)
        exercise: Exercise = find("own-policy")
        (root / "work").mkdir()
        (root / "work" / f"{exercise.module}.py").write_bytes(file.read_bytes())
        super().__init__(exercise, root, together_s=THINKING_S)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def scenario(seed: int) -> Scenario:
    """Return a round's workload and workers."""
    return uneven(seed, TASKS, CLASSROOM if seed % 3 else EQUAL, 0.1)


def faults(seed: int) -> tuple[str, ...]:
    """Return a round's faults."""
    return ("kill",) if seed % 2 else ()


def _round(seed: int, policy: str | Policy) -> Run:
    return simulate(seed, faults=faults(seed), policy=policy, safety_s=RUN_S, scenario=scenario(seed))


# --- the numbers --------------------------------------------------------------------------------------------


def _summary(name: str, runs: Sequence[Run]) -> Standing:
    waits = sorted(wait for run in runs for wait in waits_s(run.history))
    return Standing(
        name,
        statistics.median(makespan_s(run.history) for run in runs),
        waits[int(0.95 * (len(waits) - 1))] if waits else 0.0,
        statistics.fmean(_fairness(seed, run.history) for seed, run in enumerate(runs)),
        sum(wasted_s(run.history) for run in runs),
        sum(len(run.violations) for run in runs),
    )


def makespan_s(events: Sequence[Event]) -> float:
    """Return the seconds from the first submission to the last outcome."""
    begun = min((event.at for event in events if event.kind == h.SUBMITTED), default=0.0)
    return max((event.at for event in events if event.kind in h.OUTCOMES), default=begun) - begun


def waits_s(events: Sequence[Event]) -> list[float]:
    """Return for each task the seconds from its submission to its first start."""
    submitted: dict[str, float] = {}
    started: dict[str, float] = {}
    for event in events:
        if event.kind == h.SUBMITTED:
            submitted.setdefault(event.task, event.at)
        elif event.kind == h.STARTED:
            started.setdefault(event.task, event.at)
    return [at - submitted[task] for task, at in started.items()]


def wasted_s(events: Sequence[Event]) -> float:
    """Return the seconds of computing that led to no result, because the attempt was taken away."""
    running: dict[str, float] = {}
    wasted = 0.0
    for event in events:
        if event.kind == h.STARTED:
            running[event.task] = event.at
        elif event.kind == h.REQUEUED:
            wasted += event.at - running.pop(event.task, event.at)
        elif event.kind in h.OUTCOMES:
            running.pop(event.task, None)
    return wasted


def _fairness(seed: int, events: Sequence[Event]) -> float:
    """Return Jain's fairness index of the busy seconds per slot."""
    places = scenario(seed).places
    busy = [0.0] * len(places)
    for event in events:
        if event.kind == h.DONE:
            number = int(event.worker.rpartition("-")[2]) - 1
            busy[number] += float(event.detail["compute_s"]) / places[number].slots
    squares = sum(one * one for one in busy)
    return sum(busy) ** 2 / (len(busy) * squares) if squares else 1.0


def why(standings: Sequence[Standing]) -> tuple[str, dict[str, object]] | None:
    """Return one sentence on why the first is ahead of the second: template and values; None without two."""
    playing = [one for one in standings if not one.failure and not one.violations]
    if len(playing) < 2:
        return None
    first, second = playing[:2]
    values: dict[str, object] = {"first": first.name, "second": second.name}
    if second.waiting_p95_s > 1.05 * first.waiting_p95_s:
        values |= _both(first.waiting_p95_s, second.waiting_p95_s, 2)
        return N_(
            "{first} wins: fewer tasks wait long behind others (p95 {one} s, {second} {other} s)"
        ), values
    if second.wasted_s > 1.05 * first.wasted_s:
        values |= _both(first.wasted_s, second.wasted_s, 1)
        return N_("{first} wins: less is computed twice after a loss ({one} s, {second} {other} s)"), values
    values |= _both(first.makespan_s, second.makespan_s, 2)
    return N_("{first} wins by its makespan alone ({one} s, {second} {other} s)"), values


def _both(one: float, other: float, digits: int) -> dict[str, object]:
    return {"one": f"{Spoken(one):.{digits}f}", "other": f"{Spoken(other):.{digits}f}"}
