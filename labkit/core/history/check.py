"""Violated promises, found in the recorded history alone.

As in Maelstrom, the checker is independent of the system: it keeps its own small record of each task and
worker, made from the events alone, and never asks the scheduler. It reads the events once, in order.

The promises are the keys of ``RULES``, each with the sentence that reports its violation.

Guarantee: no false alarm. At a gap in the recording the checker forgets everything before it, and judges
later events only by what it has seen since. So it may miss a violation there, but never invents one. A
recording that begins in the middle of a run must therefore begin with a gap event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from labkit.core.errors import N_
from labkit.core.history import events as e
from labkit.core.history.events import Event

RULES = {
    # A client that never received the outcome may submit the task again, which then has another outcome.
    "two_outcomes": N_("task {task} is {kind} although it was {former}"),
    "no_outcome": N_("task {task} has no outcome"),
    "never_submitted": N_("{kind}: task {task} was never submitted to this broker"),
    "after_outcome": N_("task {task} was sent to {worker} although it was {former}"),
    "two_attempts": N_("task {task} was sent to {worker} while {holder} had it"),
    # Attempt numbers only grow while one broker lives.
    "attempt_backwards": N_("task {task} was dispatched as attempt {attempt} after attempt {former}"),
    # Work goes only to workers that have joined, are still there, are neither draining nor suspect, and are
    # capable.
    "not_there": N_("task {task} was sent to {worker}, which was not there ({state})"),
    "not_ready": N_("task {task} was sent to {worker}, which was {state}"),
    "not_capable": N_("task {task} was sent to {worker}, which cannot do {missing}"),
    "never_had_it": N_("{kind}: attempt {attempt} of task {task} was sent to {sent_to}, not to {worker}"),
    "requeue_without_loss": N_("task {task} was taken from {holder}, which was not lost"),
    "requeue_of_nothing": N_("task {task} was requeued while no worker had it"),
    "not_joined": N_("{worker} was {kind} without having joined"),
    "joined_twice": N_("{worker} joined while another {worker} was there"),
    "clock_backwards": N_("the broker's clock went back to {t:.6f} s"),
}

# Causes by which a living worker loses a task: it reported a hang, or returned the task.
_OWN_WISH = frozenset({"hung", "returned"})


class Violation(NamedTuple):
    """A broken promise; ``str(violation)`` is its English sentence, ``at`` seconds since the first event."""

    rule: str
    at: float
    task: str
    worker: str
    template: str
    params: dict[str, object]

    def __str__(self) -> str:
        return self.template.format(**self.params)


class _Task:
    """What the checker knows about one task."""

    __slots__ = (
        "attempt",
        "client",
        "generation",
        "had_one",
        "holder",
        "needs",
        "outcome",
        "sent",
        "submitted",
    )

    def __init__(self, generation: int, submitted: bool) -> None:
        self.generation = generation
        self.submitted = submitted
        self.client = ""
        self.needs: frozenset[str] = frozenset()
        self.outcome = ""
        self.had_one = False  # an outcome, before its client submitted it again to the same broker
        self.attempt = 0
        self.holder: str | None = None  # the worker that has the current attempt
        self.sent: dict[int, str] = {}  # attempt -> worker, in this generation


class _Worker:
    """What the checker knows about one worker."""

    __slots__ = ("capabilities", "state")

    def __init__(self, state: str, capabilities: frozenset[str]) -> None:
        self.state = state
        self.capabilities = capabilities


class Checker:
    """Reads events and collects ``violations``; ``finish`` adds those that only the end reveals."""

    def __init__(self, start: float) -> None:
        self.violations: list[Violation] = []
        self._start = start
        self._now = start
        self._generation = 0
        self._blind = False  # after a gap: an event that was not seen may have happened in it
        self._tasks: dict[str, _Task] = {}
        self._workers: dict[str, _Worker] = {}
        self._clients: dict[str, int] = {}  # client -> the last generation in which it submitted something
        self._suspicious: list[tuple[Event, str]] = []  # requeues whose loss must follow at the same instant
        self._handlers = {
            e.SUBMITTED: self._submitted,
            e.DISPATCHED: self._dispatched,
            e.STARTED: self._started,
            e.DONE: self._outcome,
            e.FAILED: self._outcome,
            e.CANCELLED: self._outcome,
            e.REQUEUED: self._requeued,
            e.JOINED: self._joined,
            e.SUSPECT: self._worker_state,
            e.ALIVE: self._worker_state,
            e.DRAINING: self._worker_state,
            e.LOST: self._gone,
            e.LEFT: self._gone,
            e.BROKER_STARTED: self._broker_started,
            e.GAP: self._gap,
        }

    def read(self, events: Iterable[Event]) -> None:
        """Judge events in the order in which they were recorded."""
        for event in events:
            # A fault is noted by its injector, so its instant may be a little older than its place.
            if event.at < self._now and event.kind not in (e.FAULT, e.GAP):
                if event.kind != e.BROKER_STARTED:  # after a reboot the clock starts again
                    self._report("clock_backwards", event)
                self._now = event.at
            elif event.at > self._now and event.kind != e.FAULT:
                self._now = event.at
                if self._suspicious:
                    self._judge_requeues()
            handler = self._handlers.get(event.kind)
            if handler is not None:
                handler(event)

    def finish(self) -> None:
        """Judge the end of the recording, at which everything should have ended."""
        self._judge_requeues()
        end = Event(self._now, "end")
        for name, task in self._tasks.items():
            # A task of a former broker counts only if its client is known to have outlived that broker and
            # had no outcome from it: one may have reached the client just before the broker died.
            outlived = self._clients.get(task.client) == self._generation and not task.had_one
            expected = task.generation == self._generation or outlived
            if task.submitted and not task.outcome and expected:
                self._report("no_outcome", end._replace(task=name))

    def _report(self, rule: str, event: Event, **more: object) -> None:
        t = event.at - self._start
        params: dict[str, object] = {"t": t, "kind": event.kind, "task": event.task}
        params |= {"attempt": event.attempt, "worker": event.worker, **more}
        self.violations.append(Violation(rule, t, event.task, event.worker, RULES[rule], params))

    # --- tasks ----------------------------------------------------------------------------------------------

    def _task(self, event: Event) -> _Task:
        task = self._tasks.get(event.task)
        if task is None:
            if not self._blind:
                self._report("never_submitted", event)
            task = self._tasks[event.task] = _Task(self._generation, submitted=False)
        elif task.generation != self._generation:  # this broker does not know it
            if not self._blind:
                self._report("never_submitted", event)
            self._renew(task)
        return task

    def _renew(self, task: _Task) -> None:
        task.had_one = bool(task.outcome) and task.generation == self._generation
        task.generation = self._generation
        task.outcome = ""
        task.attempt = 0
        task.holder = None
        task.sent.clear()

    def _submitted(self, event: Event) -> None:
        task = self._tasks.get(event.task)
        if task is None:
            task = self._tasks[event.task] = _Task(self._generation, submitted=True)
        elif task.outcome or task.generation != self._generation:
            self._renew(task)
        task.client = str(event.detail.get("client", ""))
        task.needs = _names(event.detail.get("needs"))
        if task.client:
            self._clients[task.client] = self._generation

    def _dispatched(self, event: Event) -> None:
        task = self._task(event)
        if task.holder is not None:
            self._report("two_attempts", event, holder=task.holder)
        if task.outcome:
            self._report("after_outcome", event, former=task.outcome)
        if event.attempt <= task.attempt:
            self._report("attempt_backwards", event, former=task.attempt)
        task.attempt = event.attempt
        task.holder = event.worker
        task.sent[event.attempt] = event.worker
        self._judge_choice(event, task)

    def _judge_choice(self, event: Event, task: _Task) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            if not self._blind:
                self._report("not_there", event, state="never joined")
        elif worker.state in ("lost", "left"):
            self._report("not_there", event, state=worker.state)
        elif worker.state != "ready":
            self._report("not_ready", event, state=worker.state)
        elif worker.capabilities and not task.needs <= worker.capabilities:
            self._report("not_capable", event, missing=", ".join(sorted(task.needs - worker.capabilities)))

    def _started(self, event: Event) -> None:
        self._judge_sender(event, self._task(event))

    def _judge_sender(self, event: Event, task: _Task) -> None:
        sent_to = task.sent.get(event.attempt)
        if sent_to != event.worker and (sent_to is not None or not self._blind):
            self._report("never_had_it", event, sent_to=sent_to or "no worker")

    def _outcome(self, event: Event) -> None:
        task = self._task(event)
        if event.kind == e.DONE or event.detail.get("code") == "ERROR":
            self._judge_sender(event, task)
        if task.outcome:
            self._report("two_outcomes", event, former=task.outcome)
        task.outcome = event.kind
        task.holder = None

    def _requeued(self, event: Event) -> None:
        task = self._task(event)
        holder = task.holder
        if holder is None and not self._blind:
            self._report("requeue_of_nothing", event)
        task.holder = None
        if holder is not None and event.detail.get("cause") not in _OWN_WISH:
            worker = self._workers.get(holder)
            if worker is not None and worker.state not in ("lost", "left", "draining"):
                self._suspicious.append((event, holder))

    def _judge_requeues(self) -> None:
        """Report requeues that no loss at the same instant has explained."""
        for event, holder in self._suspicious:
            self._report("requeue_without_loss", event, holder=holder)
        self._suspicious.clear()

    # --- workers and broker ---------------------------------------------------------------------------------

    def _joined(self, event: Event) -> None:
        worker = self._workers.get(event.worker)
        if worker is not None and worker.state not in ("lost", "left"):
            self._report("joined_twice", event)
        self._workers[event.worker] = _Worker("ready", _names(event.detail.get("capabilities")))

    def _worker_state(self, event: Event) -> None:
        worker = self._workers.get(event.worker)
        if worker is None or worker.state == e.DRAINING:  # a draining worker stays draining, suspect or not
            return
        worker.state = "ready" if event.kind == e.ALIVE else event.kind

    def _gone(self, event: Event) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:
            if not self._blind:
                self._report("not_joined", event)
            worker = self._workers[event.worker] = _Worker(event.kind, frozenset())
        elif worker.state in ("lost", "left"):
            self._report("not_joined", event)
        worker.state = event.kind
        self._suspicious = [pair for pair in self._suspicious if pair[1] != event.worker]

    def _broker_started(self, event: Event) -> None:
        self._judge_requeues()
        self._generation += 1
        self._workers.clear()
        self._blind = False
        for task in self._tasks.values():
            task.holder = None

    def _gap(self, event: Event) -> None:
        self._suspicious.clear()
        self._tasks.clear()
        self._workers.clear()
        self._clients.clear()
        self._blind = True


def _names(value: object) -> frozenset[str]:
    """Return the capability names in an event, ``"resize,blur"`` or a list; empty means all."""
    if isinstance(value, str):
        return frozenset(value.split(",")) if value else frozenset()
    if isinstance(value, (list, tuple, set, frozenset)):
        return frozenset(str(name) for name in value)
    return frozenset()


def check(events: Iterable[Event], start: float, ended: bool) -> list[Violation]:
    """Return the violations in a recording; with ``ended``, tasks without an outcome are violations, too."""
    checker = Checker(start)
    checker.read(events)
    if ended:
        checker.finish()
    return checker.violations
