"""What was done to the workers and the broker of a recorded run, as strikes for a replay.

Faults that an injector noted are taken from its notes. What happened without a note (a crash, a worker that a
supervisor started again, a polite stop by ``scale``) is read from the workers' own events:

* lost because its connection closed: it was killed at that instant
* lost because it was silent: it was frozen ``dead_s`` before, until the same process joins again
* joins after its end, or as another process than before: it was started
* leaves: it was stopped when it began to drain

What came after the last outcome, such as the end of the whole cluster, harms nothing: a replay may take
longer than its recording. A start takes effect when the process joins, not when it is asked for: a real one
needs half a second for its imports. A worker that crashed or left because of its task does so in the replay,
too, by that task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from labkit.core import history as h
from labkit.core.history import Event, History
from labkit.core.protocol.rules import Rules
from labkit.simulation.scenario import Strike

HEALING = frozenset({"resume", "start", "heal"})
OF_TASKS = frozenset({"HUNG", "POISONED"})


@dataclass
class _Seen:
    """What is known of one worker so far."""

    process: object = None
    """The number of its process; None before it joined."""
    is_struck: bool = False
    """Whether a noted fault explains its next end."""
    is_down: bool = False
    is_silent: bool = False
    drains: bool = False


def strikes_of(history: History, shift: float) -> list[Strike]:
    """Return the strikes of a recorded run; ``shift`` leads from the broker's clock to the scenario's."""
    last = max((event.at for event in history.events if event.kind in h.OUTCOMES), default=float("inf"))
    found = [one for one in _strikes(history) if one.at <= last or one.what in HEALING]
    found = [replace(one, at=max(0.0, one.at + shift)) for one in found]
    return sorted(found, key=lambda one: one.at)


def _strikes(history: History) -> Iterator[Strike]:
    blamed = {row.task for row in history.ledger() if row.code in OF_TASKS}
    seen: dict[str, _Seen] = {}
    held: dict[str, set[str]] = {}
    brokers = 0
    broker_struck = False
    broker_ended_at: float | None = None
    last_at = history.began_at
    for event in history.events:
        worker = seen.setdefault(event.worker, _Seen())
        if event.kind == h.FAULT:
            yield from _noted(event, seen)
            broker_struck |= (event.detail.get("fault"), event.detail.get("target")) == ("kill", "broker")
        elif event.kind == h.BROKER_STOPPED:
            broker_ended_at = event.at
        elif event.kind == h.BROKER_STARTED:
            if brokers and not broker_struck:
                yield Strike(last_at if broker_ended_at is None else broker_ended_at, "kill", "broker")
            if brokers:
                yield Strike(event.at, "start", "broker")
            brokers, broker_struck, broker_ended_at = brokers + 1, False, None
        elif event.kind == h.DISPATCHED:
            held.setdefault(event.worker, set()).add(event.task)
        elif event.kind in (h.LOST, h.LEFT, h.DRAINING):
            if not held.get(event.worker, set()) & blamed:
                yield from _ended(event, worker)
            worker.is_struck &= event.kind == h.DRAINING
            worker.is_down |= event.kind == h.LEFT or event.detail.get("cause") == "closed"
        elif event.kind == h.JOINED:
            yield from _joined(event, worker)
        elif event.kind in h.OUTCOMES:
            for tasks in held.values():
                tasks.discard(event.task)
        last_at = event.at


def _noted(event: Event, seen: dict[str, _Seen]) -> Iterator[Strike]:
    what, target = str(event.detail.get("fault", "")), str(event.detail.get("target", ""))
    if what in ("kill", "pause", "stop"):
        seen.setdefault(target, _Seen()).is_struck = True
    if what != "start":
        yield Strike(event.at, what, target)


def _ended(event: Event, worker: _Seen) -> Iterator[Strike]:
    if worker.is_struck:
        return
    if event.kind == h.LOST:
        cause = event.detail.get("cause")
        if cause == "closed":
            yield Strike(event.at, "kill", event.worker)
        elif cause == "silent":
            worker.is_silent = True
            yield Strike(event.at - Rules().dead_s, "pause", event.worker)
    elif event.kind == h.DRAINING or not worker.drains:
        worker.drains = event.kind == h.DRAINING
        yield Strike(event.at, "stop", event.worker)


def _joined(event: Event, worker: _Seen) -> Iterator[Strike]:
    process = event.detail.get("pid")
    if worker.is_down or (worker.process is not None and process != worker.process):
        yield Strike(event.at, "start", event.worker)
    elif worker.is_silent:
        yield Strike(event.at, "resume", event.worker)
    worker.process = process if process is not None else ""
    worker.is_struck = worker.is_down = worker.is_silent = worker.drains = False
