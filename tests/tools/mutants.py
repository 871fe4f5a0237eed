"""State machines with one rule taken out each: if the simulation does not catch them, it proves nothing.

The first are those that the project demands. The others are bugs that were really there (the simulation or a
review found them) or promises of the fault table. Each states by which invariants it may be caught, so that
none is caught by accident.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from labkit.core.autoscaler import Autoscaler, Load
from labkit.core.broker.blame import Verdict
from labkit.core.broker.inputs import Action, FromClient, FromWorker
from labkit.core.broker.records import ClientRecord, OpenTask, Route, Worker
from labkit.core.broker.scheduler import Scheduler
from labkit.core.peers import client_session as cs
from labkit.core.peers.session import Phase, Send
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol import messages as m
from labkit.simulation import Parts
from labkit.simulation.worker_slot import WorkerSlot

# --- those that the project demands -------------------------------------------------------------------------


class NoFencing(Scheduler):
    """Accepts a result for an open task from any worker."""

    def _on_late_result(self, key: bytes, done: m.Done, now: float) -> None:
        task = self.tasks.get(done.task)
        if task is None:
            super()._on_late_result(key, done, now)
        else:
            self.life.revoke(task)
            self.life.finish(task, key, done, now)


class OldEpochsCount(Scheduler):
    """Lets a worker that says hello again keep the tasks of its former epoch."""

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        if cause != "rejoined":
            super()._lose(worker, cause, now)
            return
        kept = list(worker.tasks.values())
        worker.tasks.clear()
        super()._lose(worker, cause, now)
        for task in kept:
            task.worker = None


class NoRequeue(Scheduler):
    """Forgets the tasks of a lost worker, so thoroughly that all its tables agree."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.life.requeue = lambda task, *_: self.life.end(task)  # type: ignore[method-assign]


class NoDedupe(Scheduler):
    """Opens a resubmitted task a second time."""

    def _on_submit(self, client: ClientRecord, submit: m.Submit, now: float) -> None:
        known = self.tasks.get(submit.task)
        if known is not None:
            self.life.revoke(known)
            self.life.end(known)
        super()._on_submit(client, submit, now)


class TwiceToTheUser(cs.ClientSession):
    """Hands out every outcome that arrives, the second one too."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: dict[bytes, cs.Call] = {}

    def _on_message(self, message: m.Message, now: float) -> None:
        if type(message) is m.Result:
            if message.task in self.open:
                self.calls[message.task] = self.open[message.task]
            elif message.task in self.calls:
                self._out.append(cs.Outcome(self.calls[message.task], message))
        super()._on_message(message, now)


class NoForgiveness(Scheduler):
    """Counts its own sleep as silence of its peers. A drained inbox hides that: see ``sweep_first``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.liveness.forgive_silence = lambda now: None  # type: ignore[method-assign]


class BlamesAllTasks(Scheduler):
    """Blames a crash on all tasks that the worker had, started or not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        note_crash = self.blame.note_crash

        def blame(worker: Worker) -> None:
            for task in worker.tasks.values():
                if task.started_at is None:
                    task.started_at = worker.last_heard
            note_crash(worker)

        self.blame.note_crash = blame  # type: ignore[method-assign]


# --- bugs that were there -----------------------------------------------------------------------------------


class NeverAcquits(Scheduler):
    """Counts a broken connection as a crash even when the process is heard again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.acquit = lambda *_: []  # type: ignore[method-assign]


class ForgetsVerdicts(Scheduler):
    """Runs a poisoned task again when the message about it was lost."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.record = lambda failed: None  # type: ignore[method-assign]


class KeepsTheDead(Scheduler):
    """Remembers departed workers with all that they held."""

    def _lose(self, worker: Worker, cause: str, now: float) -> None:
        held = dict(worker.tasks)
        super()._lose(worker, cause, now)
        worker.tasks.update(held)


class RevokedIsIdle(Scheduler):
    """Takes a worker for idle although it may still compute a revoked task."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        revoke = self.life.revoke

        def forget(task: OpenTask) -> None:
            worker = task.worker
            revoke(task)
            if worker is not None:
                self.workers.answered(worker, task.id, task.attempt)

        self.life.revoke = forget  # type: ignore[method-assign]


class SleepIsComputing(Scheduler):
    """Counts time in which it slept, or a worker was silent, against leases, and gives little grace."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.liveness.extend_leases = lambda worker, by_s: None  # type: ignore[method-assign]
        grace_s = self.rules.dead_s
        self.blame.is_hung = lambda task, now: (  # type: ignore[method-assign]
            task.started_at is not None and now > task.started_at + task.lease_s + grace_s
        )


class MixesNamesakes(WorkerSession):
    """Runs an attempt although one with the same number, of a former broker, is still in the shell."""

    def _on_message(self, message: m.Message, now: float) -> None:
        if type(message) is m.Task:
            self._runs.pop((message.task, message.attempt), None)
        super()._on_message(message, now)


class FreezeIsComputing(WorkerSession):
    """Counts the time in which its process was frozen against leases."""

    def _overslept(self, slept_s: float, now: float) -> None:
        pass


class SwallowsRevoked(WorkerSession):
    """Drops a revoked task without an answer."""

    def _send(self, message: m.Message, now: float) -> None:
        if type(message) is not m.Returned or self.phase is not Phase.READY:
            super()._send(message, now)


class NeverGreetsAgain(cs.ClientSession):
    """Says hello once for each connection and waits for ever."""

    def _greet(self, now: float, connect: bool) -> None:
        if self.phase is Phase.GREETING and self._last_sent:
            self._last_heard = now
        else:
            super()._greet(now, connect)


class NeverResubmits(cs.ClientSession):
    """Never sends a task again after a new welcome."""

    def _on_message(self, message: m.Message, now: float) -> None:
        again = type(message) is m.ClientWelcome and self.broker_epoch
        super()._on_message(message, now)
        if again:
            self._out = [a for a in self._out if type(a) is not Send or type(a.message) is not m.Submit]


class CountsFromZero(cs.ClientSession):
    """Takes a clock that shows less than zero for a time before the first task may be sent."""

    def _pump(self, now: float) -> None:
        if now >= 0.0:
            super()._pump(now)


class TakesGapsForFreezes(WorkerSession):
    """Takes the time between two ticks for a freeze, and gives each task that much longer."""

    def _slept_s(self, now: float) -> float:
        since_s, self._last_tick = now - self._last_tick, now
        return since_s if since_s > self._heartbeat_s / 4 else 0.0


# --- envelopes of several messages --------------------------------------------------------------------------


class BrokerReadsOneMessage(Scheduler):
    """Handles only the first message of an envelope."""

    def handle_envelope(
        self, side: type[FromClient | FromWorker], route: Route, messages: Iterable[m.Message], now: float
    ) -> list[Action]:
        return super().handle_envelope(side, route, islice(messages, 1), now)


class WorkerReadsOneMessage(WorkerSession):
    """Handles only the first message of an envelope."""

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]:
        return super().handle_envelope(islice(messages, 1), now)


class ClientReadsOneMessage(cs.ClientSession):
    """Handles only the first message of an envelope."""

    def handle_envelope(self, messages: Iterable[m.Message], now: float) -> list[Any]:
        return super().handle_envelope(islice(messages, 1), now)


# --- promises of the fault table ----------------------------------------------------------------------------


class SuspectsWork(Scheduler):
    """Gives new work to workers that have been silent for a while."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.workers.has_credit = lambda worker: worker.in_flight <= worker.slots  # type: ignore[method-assign]


class IgnoresNeeds(Scheduler):
    """Sends a task to the least busy worker, whether it can do it or not."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        least_busy = self.workers.least_busy
        self.workers.least_busy = lambda needs: least_busy(frozenset())  # type: ignore[method-assign]


class MostBusy(Scheduler):
    """Sends a task to the busiest worker that has credit."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.workers.least_busy = lambda needs: max(  # type: ignore[method-assign]
            self.workers.eligible(needs), key=lambda worker: worker.in_flight, default=None
        )


class SilentFailures(Scheduler):
    """Ends tasks whose deadline has come without telling their client."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.life.expire = self._end_silently  # type: ignore[method-assign]

    def _end_silently(self, task: OpenTask, now: float) -> None:
        self.life.revoke(task)
        self.life.end(task)


class NoPatience(Scheduler):
    """Expects heartbeats from behind a large message that is still on its way."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._worker_handlers[m.Bulk] = lambda worker, bulk, now: None


class TakesEveryWorker(Scheduler):
    """Lets a second worker with the same id replace the first one."""

    def _on_worker_hello(self, route: Route, hello: m.WorkerHello, now: float) -> None:
        present = self.workers.get(hello.worker)
        if present is not None:
            present.instance = hello.instance
        super()._on_worker_hello(route, hello, now)


class NeverSweeps(Scheduler):
    """Never gives up a silent worker."""

    def _sweep(self, now: float) -> None:
        pass


class DyingIsFine(Scheduler):
    """Lets a task crash one worker after another."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.note_crash = lambda worker: None  # type: ignore[method-assign]


class NeverWeighs(Scheduler):
    """Finds a task guilty that was running in too many crashed workers, however many die without it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.judge = self._by_count  # type: ignore[method-assign]

    def _by_count(self, task: OpenTask, *_: Any, **__: Any) -> Verdict:
        return Verdict.POISON if task.crashes >= self.rules.max_crashes else Verdict.TRY_AGAIN


class NeverWatches(Scheduler):
    """Decides at the third crash, without a look at whether workers die without the task, too."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        judge = self.blame.judge
        self.blame.judge = lambda task, tasks, now, may_wait=True: judge(  # type: ignore[method-assign]
            task, tasks, now, may_wait=False
        )


class NeverLooksForDeadlocks(Scheduler):
    """Lets tasks wait for tasks that no slot is left to run."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.deadlock.look = lambda now: ([], [])  # type: ignore[method-assign]


class EveryWaitIsADeadlock(Scheduler):
    """Takes what waits for a slot for lost, though a worker that computes will have one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.deadlock._cannot_start = lambda task, held_up: task.started_at is None  # type: ignore[method-assign]


class SilenceIsFine(Scheduler):
    """Lets a task silence one worker after another: a silent worker that dies is no evidence."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.note_crash_of_silent = lambda *_: []  # type: ignore[method-assign]


class NeverWaits(Scheduler):
    """Sends a task that keeps the interpreter lock to the next worker as soon as the last one is silent."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.blame.wait_s = lambda task: 0.0  # type: ignore[method-assign]


class AnyMessageIsEnough(Scheduler):
    """Releases a task that was set aside as soon as the silent worker sends any message."""

    def _on_stale_message(self, route: Any, message: Any, now: float) -> None:
        self._resolve_silence(self.blame.end_silence(route, self.tasks), "", now)
        super()._on_stale_message(route, message, now)


class AlwaysBeginsAnew(WorkerSession):
    """Takes every gap in its ticks for a freeze, and drops the task that kept the interpreter lock."""

    def _overslept(self, slept_s: float, awake_since: float) -> None:
        self._was_locked = False
        super()._overslept(slept_s, awake_since)


class NeverAsks(WorkerSession):
    """Does not announce careful tasks, so the evidence of quick crashes is lost with the worker."""

    def _advance(self, now: float) -> None:
        while self._line:
            self._hand_over(self._line.popleft())


class KnowsNoBounds(Autoscaler):
    """Ignores the least and the most number of workers."""

    def _bounded(self, size: int) -> int:
        return size


class Flaps(Autoscaler):
    """Shrinks as quickly as it grows."""

    def _next_size(self, load: Load, now: float) -> int:
        return self._wanted[-1][1]


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


def _autoscaler(*caught_by: str, **parts: Any) -> Mutant:
    return Mutant(Parts(**parts), frozenset(caught_by), faults=("autoscale",))


DEMANDED: dict[str, Mutant] = {
    "epoch fencing": _scheduler(NoFencing, "epoch_fencing", "right_result"),
    "new epoch on rejoin": _scheduler(OldEpochsCount),
    "requeue": _scheduler(NoRequeue, "conservation", "requeue"),
    "dedupe at the broker": _scheduler(NoDedupe, "dedupe"),
    "dedupe at the client": _client(TwiceToTheUser, "one_outcome"),
    "drain before sweep": _scheduler(NoForgiveness, "on_time", sweep_first=True),
    "blame rule": _scheduler(BlamesAllTasks, "evidence"),
}

FURTHER: dict[str, Mutant] = {
    "acquittal": _scheduler(NeverAcquits, "evidence")._replace(workers=2, faults=("break",)),
    "verdicts": _scheduler(ForgetsVerdicts, "evidence")._replace(faults=("break", "flood", "poison")),
    "departed workers": _scheduler(KeepsTheDead, "only_the_living_are_referred_to"),
    "charge for revoked": _scheduler(RevokedIsIdle, "in_flight", "least_busy"),
    "sleep is no computing": _scheduler(SleepIsComputing, "on_time", "deserved_failure"),
    "namesakes": _worker(MixesNamesakes, "held"),
    "freeze is no computing": _worker(FreezeIsComputing, "deserved_failure")._replace(
        faults=("hang", "pause")
    ),
    "answer to revoke": _worker(SwallowsRevoked, "liveness"),
    "second hello": _client(NeverGreetsAgain, "back_in_time", "liveness")._replace(faults=("break",)),
    "resubmission": _client(NeverResubmits),
    "clocks below zero": _client(CountsFromZero),
    "a gap is no freeze": _worker(TakesGapsForFreezes, "liveness", "back_in_time")._replace(faults=("hang",)),
    "every message of an envelope at the broker": _scheduler(BrokerReadsOneMessage, "liveness"),
    "every message of an envelope at the worker": _worker(WorkerReadsOneMessage, "liveness", "held"),
    "every message of an envelope at the client": _client(ClientReadsOneMessage, "conservation", "liveness"),
    "no work for suspects": _scheduler(SuspectsWork, "fit_worker", "only_the_living_are_referred_to"),
    "capabilities": _scheduler(IgnoresNeeds, "fit_worker"),
    "least busy": _scheduler(MostBusy, "least_busy"),
    "visible deadline": _scheduler(SilentFailures, "conservation"),
    "detection": _scheduler(NeverSweeps, "detection"),
    "patience with bulk": _scheduler(NoPatience, "on_time", "detection")._replace(faults=("slow",)),
    "one worker an id": _scheduler(TakesEveryWorker, "on_time", "liveness")._replace(faults=("duplicate",)),
    "poison": _scheduler(DyingIsFine, "liveness"),
    "weighing of blame": _scheduler(NeverWeighs, "innocent")._replace(faults=("storm",)),
    "a look before the verdict": _scheduler(NeverWatches, "innocent")._replace(faults=("storm",)),
    "deadlock": _scheduler(NeverLooksForDeadlocks, "deserved_failure")._replace(workers=2, faults=("nest",)),
    "a slot may become free": _scheduler(EveryWaitIsADeadlock, "deserved_failure")._replace(
        workers=2, faults=("hang", "nest")
    ),
    "death in silence": _scheduler(SilenceIsFine, "liveness")._replace(faults=("lock",)),
    "containment": _scheduler(NeverWaits, "containment")._replace(faults=("lock",)),
    "a word is not enough": _scheduler(AnyMessageIsEnough, "containment")._replace(faults=("lock",)),
    "what kept the lock ends first": _worker(AlwaysBeginsAnew, "containment")._replace(faults=("lock",)),
    "evidence of quick crashes": _worker(NeverAsks, "liveness"),
    "bounds of the autoscaler": _autoscaler("autoscaler", autoscaler=KnowsNoBounds),
    "calm of the autoscaler": _autoscaler("autoscaler", autoscaler=Flaps),
    "drain of the dismissed": _autoscaler("autoscaler", dismiss=WorkerSlot.kill),
}
