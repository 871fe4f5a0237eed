"""Judges each published transition of a task: submitted, dispatched, started, requeued, and its outcomes."""

from __future__ import annotations

from typing import Final

from labkit.core import history as h
from labkit.core.broker.inputs import FromWorker, Tick
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.simulation.model import ASSIGNED, QUEUED, ModelTask, ModelWorker
from labkit.simulation.observation import Observation
from labkit.simulation.work import Work

Answer = m.Done | m.WorkerError | m.Returned
"""A message by which a worker answers for an attempt."""
INNOCENT: Final = ("fine", "raises")
"""The behaviours of tasks that neither end nor silence their worker."""
FEW_WORKERS: Final = 3
"""With fewer workers, a storm cannot be distinguished from poison."""
KILLERS: Final = ("poison", "locks", "stalls", "hangs", "nests")
"""Those that may explain a death; one that hangs or waits is hit again and again, as if it were poison."""
LOOK_BACK_S: Final = 10.0
"""Older kills without the task are no evidence in its favour."""
_NOTHING: Final[frozenset[str]] = frozenset()


class TaskChecker:
    """``handlers`` are by the kind of event; the docstring of each says which promise it checks."""

    def __init__(self, seen: Observation, least_busy: bool) -> None:
        self._seen = seen
        self._least_busy = least_busy  # whether that is the policy
        self.handlers = {
            h.SUBMITTED: self._submitted, h.DISPATCHED: self._dispatched, h.STARTED: self._started,
            h.DONE: self._done, h.FAILED: self._failed, h.REQUEUED: self._requeued,
            h.POISONED: self._poisoned, h.CANCELLED: self._cancelled,
        }  # fmt: skip

    def _open(self, event: Event) -> ModelTask:
        task = self._seen.model.tasks.get(event.task)
        if task is None:
            self._seen.violated("conservation", f"{event.kind}: task {event.task} is not open")
        return task

    def _submitted(self, event: Event) -> None:
        """1: a task is opened once."""
        seen, model = self._seen, self._seen.model
        seen.demand(event.task not in model.tasks, "dedupe", "task {} was opened twice", event.task)
        needs = event.detail.get("needs", "")
        model.submissions += 1
        model.tasks[event.task] = ModelTask(
            event.detail["client"], frozenset(needs.split(",")) if needs else _NOTHING, model.submissions
        )
        model.queued += 1

    # --- on its way to a worker -----------------------------------------------------------------------------

    def _dispatched(self, event: Event) -> None:
        """2, 5, 6: one attempt at a time, in order, to a living, capable, least busy worker."""
        seen, model = self._seen, self._seen.model
        task = self._open(event)
        name, attempt = event.worker, event.attempt
        if task.state != QUEUED:
            seen.violated("one_attempt", f"task {event.task} was dispatched while {task.worker} had it")
        if attempt != task.attempt + 1:
            seen.violated("attempts_grow", f"task {event.task}: attempt {attempt} after {task.attempt}")
        worker = model.workers.get(name)
        if worker is None or not worker.ready_for(task.needs):
            seen.violated("fit_worker", f"{name} got task {event.task} and is gone, not ready or not capable")
        if self._least_busy:
            self._judge_choice(name, worker, task)
        if seen.works[bytes.fromhex(event.task)].behaviour in ("locks", "stalls"):
            self._judge_containment(event, task)
        if attempt == 1:
            lane = task.client, task.needs
            if task.number <= model.last_in_lane.get(lane, 0):
                seen.violated("in_order", f"task {event.task} was overtaken by another of {task.client}")
            model.last_in_lane[lane] = task.number
        task.state, task.worker, task.attempt, task.started_at = ASSIGNED, name, attempt, None
        task.sent[attempt] = name, worker.epoch
        task.sent_at[attempt] = event.at
        worker.held.add(event.task)
        model.queued -= 1

    def _judge_choice(self, name: str, worker: ModelWorker, task: ModelTask) -> None:
        """6: no other worker that may get the task is less busy."""
        busy = worker.in_flight
        for other_name, other in self._seen.model.workers.items():
            load = other.in_flight
            known = self._seen.tables.workers.get(other_name)
            if known is not None and known.held_up:
                continue
            if load < busy and load <= other.slots and other.ready_for(task.needs):
                why = f"{name} got a task on top of {busy}; {other_name} had {load}"
                self._seen.violated("least_busy", why)

    def _judge_containment(self, event: Event, task: ModelTask) -> None:
        """Fault table: a task that keeps the interpreter lock has two workers silent at once, never more.

        If it releases the lock now and then, two workers without a fault compute it at once, never more.
        """
        seen, task_id = self._seen, bytes.fromhex(event.task)
        if seen.works[task_id].behaviour == "stalls":
            sent = {attempt: (name, task.sent_at[attempt]) for attempt, (name, _) in task.sent.items()}
            stuck = seen.truth.computing(task_id, sent, seen.model.awake_since)
        else:
            standing = {seen.model.epoch_of.get(route) for route in seen.connections}
            stuck = [
                name for name, epoch in task.sent.values()
                if epoch in standing and seen.truth.keeps_lock(task_id, name, epoch)
            ]  # fmt: skip
        seen.demand(
            len(stuck) < 2, "containment", "task {} has silenced {}, and goes to {}",
            event.task, stuck, event.worker,
        )  # fmt: skip

    def _started(self, event: Event) -> None:
        """2: only the current attempt starts."""
        task = self._open(event)
        self._seen.demand(
            task.state == ASSIGNED and (task.worker, task.attempt) == (event.worker, event.attempt),
            "one_attempt", "attempt {} of task {} started, which is not current", event.attempt, event.task,
        )  # fmt: skip
        task.started_at = event.at

    def _requeued(self, event: Event) -> None:
        """1: what is requeued was taken from the worker that had it."""
        seen, model = self._seen, self._seen.model
        task = self._open(event)
        if task.state != ASSIGNED or task.worker != event.worker:
            why = f"{event.task} was requeued from {event.worker}, but {task.worker} had it"
            seen.violated("requeue", why)
        if event.task in model.orphans:
            del model.orphans[event.task]
        else:
            worker = model.workers[event.worker]
            worker.held.discard(event.task)
            if type(model.event) is Tick:  # taken back: charged to the worker until it answers
                worker.revoked.add((event.task, event.attempt))
        task.state, task.worker, task.started_at = QUEUED, "", None
        model.queued += 1
        task_id = bytes.fromhex(event.task)
        now_open = seen.tables.tasks.get(task_id)
        crashes, begun = now_open.crashes if now_open is not None else 0, seen.truth.begun(task_id)
        if crashes > begun:
            why = f"task {event.task} is blamed for {crashes} crashes, and began {begun} times"
            seen.violated("evidence", why)

    # --- its outcome ----------------------------------------------------------------------------------------

    def _end(self, event: Event) -> ModelTask:
        seen, model = self._seen, self._seen.model
        task = self._open(event)
        if task.state == QUEUED:
            model.queued -= 1
        elif event.task in model.orphans:
            del model.orphans[event.task]
        else:
            worker, by = model.workers[task.worker], model.event
            worker.held.discard(event.task)
            answered = (
                type(by) is FromWorker and isinstance(by.message, Answer) and by.route == worker.route
                and (by.message.task.hex(), by.message.attempt) == (event.task, task.attempt)
            )  # fmt: skip
            if not answered:
                worker.revoked.add((event.task, task.attempt))
        del model.tasks[event.task]
        route = model.client_routes.get(task.client)
        if event.kind != h.CANCELLED and route is not None and seen.tables.clients.at(route) is not None:
            model.ended.append(event.task)
        return task

    def _done(self, event: Event) -> None:
        """Protocol: a result counts only if its attempt was dispatched to the epoch that sends it."""
        task = self._end(event)
        sent = task.sent.get(event.attempt)
        by = self._seen.model.event
        genuine = (
            type(by) is FromWorker
            and type(by.message) is m.Done
            and (by.message.task.hex(), by.message.attempt) == (event.task, event.attempt)
            and sent == (event.worker, self._seen.model.epoch_of.get(by.route))
        )
        self._seen.demand(
            genuine, "epoch_fencing", "task {} took a result of {}, but attempt {} was sent to {}",
            event.task, event.worker, event.attempt, sent,
        )  # fmt: skip

    def _failed(self, event: Event) -> None:
        """3: a failure is deserved: the task raises, hung, crashed workers, or its time was over."""
        seen, task = self._seen, self._end(event)
        code, task_id = event.detail["code"], bytes.fromhex(event.task)
        work = seen.works[task_id]
        if code == "ERROR":
            deserved = work.behaviour in ("raises", "nests")
        elif code == "DEADLOCK":
            present = {worker.instance for worker in seen.tables.workers}
            deserved = task.started_at is None and seen.truth.is_deadlock(
                task.needs, len(task.sent) > 1, present
            )
        elif code == "POISONED":
            deserved = self._evidence(task_id) >= seen.rules.max_crashes
            self._judge_storm(work)
        elif code == "HUNG":
            deserved = seen.truth.overruns(task_id) >= seen.rules.max_hangs
            others = {other.behaviour for other in seen.works.values()} - {"fine", "nests"}
            if work.behaviour == "nests" and not others and not seen.truth.is_disturbed:
                deserved = False  # a deadlock that was not found
        elif code == "NO_WORKER":
            capable = any(worker.can(task.needs) for worker in seen.model.workers.values())
            deserved = not capable and task.state == QUEUED
        else:
            deserved = code == "DEADLINE" and work.budget_s < 3600
        why = "task {} ({}) failed as {}"
        seen.demand(deserved, "deserved_failure", why, event.task, work.behaviour, code)

    def _poisoned(self, event: Event) -> None:
        """8, blame rule: crashes are counted only where a process died after the task had begun in it.

        A process whose connection broke counts as dead until it says hello again.
        """
        seen = self._seen
        crashes, evident = event.detail["crashes"], self._evidence(bytes.fromhex(event.task))
        poisoned = seen.model.poisoned
        seen.demand(event.task not in poisoned, "evidence", "task {} was poisoned twice", event.task)
        poisoned.add(event.task)
        why = "task {} crashed {} workers"
        seen.demand(crashes <= seen.rules.max_crashes, "evidence", why, event.task, crashes)
        why = "task {} is blamed for {} crashes, evident are {}"
        seen.demand(crashes <= evident, "evidence", why, event.task, crashes, evident)

    def _judge_storm(self, work: Work) -> None:
        """Blame rule: where workers are killed without a task, too, a task that kills none is not guilty.

        With one or two workers every kill hits the requeued task: nothing distinguishes it from poison.
        """
        seen = self._seen
        if len({slot.name for slot in seen.truth.slots}) < FEW_WORKERS:
            return
        if work.behaviour in INNOCENT and not any(w.behaviour in KILLERS for w in seen.works.values()):
            since = max(seen.model.began, seen.loop.now - LOOK_BACK_S)
            others = seen.truth.killed_without(work.task, since)
            why = "task {} is POISONED, while {} workers were killed without it"
            seen.demand(others < seen.rules.max_crashes, "innocent", why, work.task.hex(), others)

    def _evidence(self, task: bytes) -> int:
        present = {worker.instance for worker in self._seen.tables.workers}
        return self._seen.truth.evidence(task, present)

    def _cancelled(self, event: Event) -> None:
        """3: the broker cancels only what its client gave up, or the tasks of a client that is gone."""
        task = self._end(event)
        if event.detail.get("cause") != "asked" and not self._seen.truth.may_cancel(task.client):
            why = f"{task.client} is present and lost task {event.task}"
            self._seen.violated("client_gone", why)
