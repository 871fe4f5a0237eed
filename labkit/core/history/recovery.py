"""What each fault cost, as a chain of instants.

::

    fault ──► detected ──► requeued ──► first result elsewhere ──► throughput back at 95 %
      detection_s   requeue_s     rework_s              restoration_s

The recovery ends with the first result elsewhere (``recovery_s``); what follows is the restoration.

There is a recovery for every injected fault, and for every worker that was lost without one (a crash of its
own). For a broker the chain is: it died, a new one started, the first of its open tasks was submitted
again, the first of them had a result.

The fault that caused a loss is inferred: it is the latest harm done to that worker, unless the worker was
heard again after it. A polite stop is not harm, unless the worker is lost instead of leaving.

"Back at 95 %" is defined so that it works for a run of sixty tasks as well as for one of a million:

* The rate before the fault is the *median* over windows of the unbroken stretch of work that the fault hit,
  from its first result on, so that neither start-up nor an idle pause counts as slow. A window lasts as
  long as twenty results took on average (or six per worker if that is more, because one of many workers shows
  less), but at least 0.2 s (results may arrive in bursts) and at most half of the stretch.
* The search begins at the latest instant that the chain knows. Throughput is restored at the *begin* of the
  first window of that length with at least 95 % of that median, so the length of the window is not added to
  the time. The time may be too short by the part of the window in which a dip can hide (with a third of the
  workers gone: 15 % of it).
* A fault without a loss (a short pause, Redis gone) counts as free of cost, and as restored at once, unless
  the window after it is weaker than three quarters of those before it.
* If ``restored_at`` is None, ``unrestored`` is the reason: fewer than 12 results before the fault
  (``few_before``), no whole window of work left after the chain's latest link (``few_after``), or no window
  that reached 95 % before the work ran out (``never``), for example because a killed worker is not started
  again.

It measures the cluster's throughput, so it is not meaningful for tasks of very different lengths.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from labkit.core.history import events as e
from labkit.core.history.events import Event
from labkit.core.history.index import Index, Loss, WorkerRecord

HEALING = frozenset({"start", "resume", "heal", "mend", "scale", "restart", "up"})
"""Faults of this kind undo harm; any other kind is harm."""
POLITE = frozenset({"stop", "down"})
"""Not harm either, unless the worker is lost instead of leaving."""

RESTORED = 0.95
WINDOW_RESULTS = 20
WINDOW_RESULTS_PER_WORKER = 6
MIN_WINDOW_S = 0.2
MIN_RESULTS_BEFORE = 12
STILL_HEARD_S = 1.0
"""A message that a worker sent before it was harmed may arrive this much later."""
_SHORT_PAUSE_S = 0.25
"""Work that pauses for less than this is one stretch of work."""


class Recovery(NamedTuple):
    """One fault and what followed. Instants are seconds since the first event, None if there is none."""

    fault: str
    """``kill``, ``pause`` …; empty if it was not injected."""
    target: str
    """The worker, or ``broker``."""
    cause: str
    """How the loss was noticed: closed, silent, lease, rejoined; empty if it was not noticed. For a broker
    that stopped when it was asked to: stopped."""
    fault_at: float | None
    detected_at: float | None
    requeued_at: float | None
    """When the first of its tasks was in the queue again."""
    first_result_elsewhere_at: float | None
    """When the first of its tasks had a result from a later attempt."""
    restored_at: float | None
    """When throughput was back; see the module's head."""
    usual_per_s: float | None
    """The rate before the fault, in results per second; None if ``few_before``."""
    unrestored: str
    """Why ``restored_at`` is None: ``few_before``, ``few_after``, ``never``; otherwise empty."""
    held: tuple[str, ...]
    """The tasks that the target held when it was lost."""
    lost: tuple[str, ...]
    """Those of them without an outcome at the end of the recording: empty is the promise."""

    @property
    def began_at(self) -> float:
        """The fault, or its detection if it was not injected."""
        return self.links[0][1]

    @property
    def links(self) -> list[tuple[str, float]]:
        """The known instants with their names, in the order of the chain."""
        chain = (
            ("fault", self.fault_at),
            ("detected", self.detected_at),
            ("requeued", self.requeued_at),
            ("elsewhere", self.first_result_elsewhere_at),
            ("restored", self.restored_at),
        )
        return [(name, at) for name, at in chain if at is not None]

    @property
    def detection_s(self) -> float | None:
        """From the fault to its detection; None if it was not injected or not noticed."""
        return _between(self.fault_at, self.detected_at)

    @property
    def requeue_s(self) -> float | None:
        """From the detection to the first requeue."""
        return _between(self.detected_at, self.requeued_at)

    @property
    def rework_s(self) -> float | None:
        """From the first requeue to the first result elsewhere."""
        return _between(self.requeued_at, self.first_result_elsewhere_at)

    @property
    def restoration_s(self) -> float | None:
        """From the link before it to throughput back at 95 %."""
        if self.restored_at is None:
            return None
        return self.restored_at - self.links[-2][1]

    @property
    def recovery_s(self) -> float | None:
        """From the beginning to the first result elsewhere: the lost worker's work goes on.

        If it held nothing, until it was detected. None if neither happened.
        """
        end = self.first_result_elsewhere_at if self.held else self.detected_at
        return _between(self.began_at, end)

    @property
    def restored_s(self) -> float | None:
        """From the beginning to throughput back at 95 %."""
        return _between(self.began_at, self.restored_at)


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin


def recoveries(index: Index, start: float) -> list[Recovery]:
    """Return every fault and loss of a recording with its consequences, by beginning."""
    done_at = sorted(at for at, _ in index.done)
    found: list[Recovery] = []
    unexplained = list(index.losses)
    harms = [fault for fault in index.faults if _kind(fault) not in HEALING and _target(fault) != "broker"]
    for i, harm in enumerate(harms):
        worker = index.workers.get(_target(harm))
        again_at = next((other.at for other in harms[i + 1 :] if _target(other) == _target(harm)), inf)
        loss = next(
            (loss for loss in unexplained if worker and _explains(harm, loss, worker, again_at)), None
        )
        if loss is not None:
            unexplained.remove(loss)
        elif _kind(harm) in POLITE:
            continue
        found.append(_of_worker(index, harm, loss, done_at, start))
    found += [_of_worker(index, None, loss, done_at, start) for loss in unexplained]
    found += _of_brokers(index, done_at, start)
    return sorted(found, key=lambda recovery: recovery.began_at)


def _kind(fault: Event) -> str:
    return str(fault.detail.get("fault", ""))


def _target(fault: Event) -> str:
    return str(fault.detail.get("target", ""))


def _explains(harm: Event, loss: Loss, worker: WorkerRecord, again_at: float) -> bool:
    """Return whether this harm explains the loss: no event shows the worker well in between."""
    if loss.worker != worker.name or not harm.at <= loss.at <= again_at:
        return False
    well = [at for at, state in worker.states if state == "ready"]  # joined, or heard again
    for attempt in worker.attempts:
        if attempt.started_at is not None:
            well.append(attempt.started_at)
        if attempt.ended_at is not None and attempt.outcome in (e.DONE, e.FAILED):
            well.append(attempt.ended_at)
    return not any(harm.at + STILL_HEARD_S < at < loss.at for at in well)


def _of_worker(
    index: Index, harm: Event | None, loss: Loss | None, done_at: Sequence[float], start: float
) -> Recovery:
    held = loss.held if loss else []
    requeued = [attempt.requeued_at for attempt in held if attempt.requeued_at is not None]
    elsewhere: list[float] = []
    for attempt in held:
        task = index.tasks[attempt.task]
        if task.outcome == e.DONE and task.ended_at is not None and task.winner is not attempt:
            elsewhere.append(task.ended_at)
    return _recovery(
        index,
        done_at,
        start,
        fault=_kind(harm) if harm else "",
        target=_target(harm) if harm else loss.worker if loss else "",
        cause=loss.cause if loss else "",
        at=[harm.at if harm else None, loss.at if loss else None, _first(requeued), _first(elsewhere)],
        held=[attempt.task for attempt in held],
    )


def _of_brokers(index: Index, done_at: Sequence[float], start: float) -> list[Recovery]:
    """Return the recoveries of the broker itself: a harm, a new broker, or both."""
    harms = [fault for fault in index.faults if _target(fault) == "broker" and _kind(fault) not in HEALING]
    found: list[Recovery] = []
    for restart in index.restarts:
        before = [harm for harm in harms if harm.at <= restart.at]
        kills = [harm for harm in before if _kind(harm) == "kill"]
        harm = kills[-1] if kills else before[-1] if before else None
        if harm is not None:
            harms.remove(harm)
        if restart.polite and not restart.open_tasks and (harm is None or _kind(harm) in POLITE):
            continue  # it was shut down and started again while no task was open
        again: list[float] = []
        results: list[float] = []
        for name in restart.open_tasks:
            task = index.tasks[name]
            again += [ev.at for ev in task.events if ev.kind == e.SUBMITTED and ev.at >= restart.at][:1]
            results += [ev.at for ev in task.events if ev.kind == e.DONE and ev.at >= restart.at][:1]
        found.append(
            _recovery(
                index,
                done_at,
                start,
                fault=_kind(harm) if harm else "",
                target="broker",
                cause="stopped" if restart.polite else "",
                at=[harm.at if harm else None, restart.at, _first(again), _first(results)],
                held=restart.open_tasks,
            )
        )
    for harm in harms:
        if _kind(harm) not in POLITE:
            at = [harm.at, None, None, None]
            found.append(
                _recovery(index, done_at, start, fault=_kind(harm), target="broker", cause="", at=at, held=[])
            )
    return found


def _first(instants: Sequence[float]) -> float | None:
    return min(instants, default=None)


def _recovery(
    index: Index,
    done_at: Sequence[float],
    start: float,
    *,
    fault: str,
    target: str,
    cause: str,
    at: list[float | None],
    held: list[str],
) -> Recovery:
    """Complete a chain whose first four links are ``at``."""
    known = [instant for instant in at if instant is not None]
    restored, why, usual = _restored(index, done_at, known[0], max(known), at[1] is not None)
    fault_at, detected_at, requeued_at, elsewhere_at, restored_at = (
        None if instant is None else instant - start for instant in (*at, restored)
    )
    return Recovery(
        fault,
        target,
        cause,
        fault_at,
        detected_at,
        requeued_at,
        elsewhere_at,
        restored_at,
        usual,
        why,
        held=tuple(held),
        lost=tuple(task for task in held if not index.tasks[task].outcome),
    )


def _restored(
    index: Index, done_at: Sequence[float], fault_at: float, search_from: float, noticed: bool
) -> tuple[float | None, str, float | None]:
    """Return when throughput was back at 95 %, or None and the reason; and the usual rate."""
    work = _stretch(index, fault_at)
    if work is None:
        return None, "few_before", None
    begin, end = work
    before = done_at[bisect_right(done_at, begin) : bisect_right(done_at, fault_at)]
    if len(before) < MIN_RESULTS_BEFORE or before[-1] <= before[0]:
        return None, "few_before", None
    stretch = fault_at - before[0]
    workers = {worker for at, worker in index.done if begin < at <= fault_at}
    results = max(WINDOW_RESULTS, WINDOW_RESULTS_PER_WORKER * len(workers))
    width = min(max(results * stretch / len(before), MIN_WINDOW_S), stretch / 2)

    def results_from(at: float) -> int:
        return bisect_right(done_at, at + width) - bisect_right(done_at, at)

    step = max(1, len(before) // 2000)  # enough windows for a median, however long the run
    usual = sorted(results_from(at) for at in before[::step] if at + width <= fault_at)
    median = usual[len(usual) // 2]
    after = done_at[bisect_right(done_at, search_from) : bisect_right(done_at, end - width)]
    if search_from + width > end:
        return None, "few_after", median / width
    if not noticed and results_from(search_from) >= usual[len(usual) // 4]:
        return search_from, "", median / width
    for at in (search_from, *after):
        if results_from(at) >= RESTORED * median:
            return at, "", median / width
    return None, "never", median / width


def _stretch(index: Index, at: float) -> tuple[float, float] | None:
    """Return the stretch of work around an instant, short pauses included; None if no task was open."""
    found: tuple[float, float] | None = None
    for begin, ended in index.busy:
        end = index.last_at if ended is None else ended
        if found is not None and begin - found[1] <= _SHORT_PAUSE_S:
            found = found[0], end
        elif begin > at:
            break
        else:
            found = begin, end
    return found if found is not None and found[1] >= at else None
