"""Schedulers with one rule taken out each; `tests.tools.mutants` says what must catch each."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from labkit.core.broker.blame import Verdict
from labkit.core.broker.inputs import Action, FromClient, FromWorker
from labkit.core.broker.records import ClientRecord, OpenTask, Route, Worker
from labkit.core.broker.scheduler import Scheduler
from labkit.core.protocol import messages as m

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


# --- envelopes of several messages --------------------------------------------------------------------------


class BrokerReadsOneMessage(Scheduler):
    """Handles only the first message of an envelope."""

    def handle_envelope(
        self, side: type[FromClient | FromWorker], route: Route, messages: Iterable[m.Message], now: float
    ) -> list[Action]:
        return super().handle_envelope(side, route, islice(messages, 1), now)


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
        self.deadlock._cannot_start = lambda task, *_: task.started_at is None  # type: ignore[method-assign]


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
