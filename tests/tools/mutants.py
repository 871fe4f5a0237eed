"""State machines with one rule taken out each: if the simulation does not catch them, it proves nothing.

The first are those that the project demands. The others are bugs that were really there (the simulation or a
review found them) or promises of the fault table. Each names the invariants that may catch it, so that none
is caught by accident.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from labkit.core.broker.scheduler import Scheduler
from labkit.core.peers import client_session as cs
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.peers.worker_session import WorkerSession
from labkit.simulation import Parts
from labkit.simulation.worker_slot import WorkerSlot
from tests.tools import mutant_peers as peers
from tests.tools import mutant_schedulers as schedulers


class Mutant(NamedTuple):
    """Parts with one rule taken out, and the invariants of which one must catch it (none: any will do)."""

    parts: Parts
    caught_by: frozenset[str] = frozenset()
    workers: int = 5
    faults: tuple[str, ...] = ()  # none: each seed's own mix


def _scheduler(cls: type[Scheduler], *caught_by: str, sweep_first: bool = False) -> Mutant:
    return Mutant(Parts(scheduler=cls, sweep_first=sweep_first), frozenset(caught_by))


def _worker(cls: type[WorkerSession], *caught_by: str) -> Mutant:
    return Mutant(Parts(worker_session=cls), frozenset(caught_by))


def _client(cls: type[cs.ClientSession], *caught_by: str) -> Mutant:
    return Mutant(Parts(client_session=cls), frozenset(caught_by))


def _process(cls: type[QuietProcess]) -> Mutant:
    return Mutant(Parts(quiet_process=cls), frozenset({"deserved_failure"}), workers=2, faults=("nest",))


def _autoscaler(*caught_by: str, **parts: Any) -> Mutant:
    return Mutant(Parts(**parts), frozenset(caught_by), faults=("autoscale",))


DEMANDED: dict[str, Mutant] = {
    "epoch fencing": _scheduler(schedulers.NoFencing, "epoch_fencing", "right_result"),
    "new epoch on rejoin": _scheduler(schedulers.OldEpochsCount),
    "requeue": _scheduler(schedulers.NoRequeue, "conservation", "requeue"),
    "dedupe at the broker": _scheduler(schedulers.NoDedupe, "dedupe"),
    "dedupe at the client": _client(peers.TwiceToTheUser, "one_outcome"),
    "drain before sweep": _scheduler(schedulers.NoForgiveness, "on_time", sweep_first=True),
    "blame rule": _scheduler(schedulers.BlamesAllTasks, "evidence"),
}

FURTHER: dict[str, Mutant] = {
    "acquittal": _scheduler(schedulers.NeverAcquits, "evidence")._replace(workers=2, faults=("break",)),
    "verdicts": _scheduler(schedulers.ForgetsVerdicts, "evidence")._replace(
        faults=("break", "flood", "poison")
    ),
    "departed workers": _scheduler(schedulers.KeepsTheDead, "only_the_living_are_referred_to"),
    "charge for revoked": _scheduler(schedulers.RevokedIsIdle, "in_flight", "least_busy"),
    "sleep is no computing": _scheduler(schedulers.SleepIsComputing, "on_time", "deserved_failure"),
    "namesakes": _worker(peers.MixesNamesakes, "held"),
    "freeze is no computing": _worker(peers.FreezeIsComputing, "deserved_failure")._replace(
        faults=("hang", "pause")
    ),
    "answer to revoke": _worker(peers.SwallowsRevoked, "liveness"),
    "second hello": _client(peers.NeverGreetsAgain, "back_in_time", "liveness")._replace(faults=("break",)),
    "resubmission": _client(peers.NeverResubmits),
    "clocks below zero": _client(peers.CountsFromZero),
    "a gap is no freeze": _worker(peers.TakesGapsForFreezes, "liveness", "back_in_time")._replace(
        faults=("hang",)
    ),
    "every message of an envelope at the broker": _scheduler(schedulers.BrokerReadsOneMessage, "liveness"),
    "every message of an envelope at the worker": _worker(peers.WorkerReadsOneMessage, "liveness", "held"),
    "every message of an envelope at the client": _client(
        peers.ClientReadsOneMessage, "conservation", "liveness"
    ),
    "no work for suspects": _scheduler(
        schedulers.SuspectsWork, "fit_worker", "only_the_living_are_referred_to"
    ),
    "capabilities": _scheduler(schedulers.IgnoresNeeds, "fit_worker"),
    "least busy": _scheduler(schedulers.MostBusy, "least_busy"),
    "visible deadline": _scheduler(schedulers.SilentFailures, "conservation"),
    "detection": _scheduler(schedulers.NeverSweeps, "detection"),
    "patience with bulk": _scheduler(schedulers.NoPatience, "on_time", "detection")._replace(
        faults=("slow",)
    ),
    "one worker an id": _scheduler(schedulers.TakesEveryWorker, "on_time", "liveness")._replace(
        faults=("duplicate",)
    ),
    "poison": _scheduler(schedulers.DyingIsFine, "liveness"),
    "weighing of blame": _scheduler(schedulers.NeverWeighs, "innocent")._replace(faults=("storm",)),
    "a look before the verdict": _scheduler(schedulers.NeverWatches, "innocent")._replace(faults=("storm",)),
    "deadlock": _scheduler(schedulers.NeverLooksForDeadlocks, "deserved_failure")._replace(
        workers=2, faults=("nest",)
    ),
    "a slot may become free": _scheduler(schedulers.EveryWaitIsADeadlock, "deserved_failure")._replace(
        workers=2, faults=("hang", "nest")
    ),
    "threads that compute": _process(peers.OpenTasksAreWaitedFor),
    "all threads of a process": _process(peers.OneWaitIsEnough),
    "waits of threads": _process(peers.NeverLooksAtThreads),
    "death in silence": _scheduler(schedulers.SilenceIsFine, "liveness")._replace(faults=("lock",)),
    "containment": _scheduler(schedulers.NeverWaits, "containment")._replace(faults=("lock",)),
    "a word is not enough": _scheduler(schedulers.AnyMessageIsEnough, "containment")._replace(
        faults=("lock",)
    ),
    "what kept the lock ends first": _worker(peers.AlwaysBeginsAnew, "containment")._replace(
        faults=("lock",)
    ),
    "evidence of quick crashes": _worker(peers.NeverAsks, "liveness"),
    "bounds of the autoscaler": _autoscaler("autoscaler", autoscaler=peers.KnowsNoBounds),
    "calm of the autoscaler": _autoscaler("autoscaler", autoscaler=peers.Flaps),
    "drain of the dismissed": _autoscaler("autoscaler", dismiss=WorkerSlot.kill),
}
