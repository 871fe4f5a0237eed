"""kill -9 of a working worker: the time until it is noticed, and until its task is sent to another one.

Both come from the broker's history, by one clock. The fault is noted *before* the signal is sent, so every
figure includes the time from the note to the kill. Each worker has one task when one of them dies.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.figures import Figure, Section, Target
from benchmarks.setup import Setup, executor_on, wait_until
from labkit.core import history as h
from labkit.core.errors import N_
from labkit.core.history import Event
from labkit.jobs import sleep_for
from labkit.support.i18n import _

if TYPE_CHECKING:
    from labkit.cluster import Cluster

TITLE = N_("kill -9 of a worker at work")
TARGET = Target(0.1, at_most=True)
WORKERS = 3
TASK_S = 0.5
KILLS_PER_ROUND = 2


class Kill(NamedTuple):
    """The effects of one kill, in seconds since it was noted."""

    noticed_s: float
    again_s: float
    """Until the last of its tasks was sent to another worker."""


def kills(events: Iterable[Event]) -> list[Kill]:
    """Return the effects of each kill in a history; a kill that interrupted no task is left out."""
    found: list[Kill] = []
    fault: Event | None = None
    noticed_s: float | None = None
    waiting: set[str] = set()
    for event in events:
        if event.kind == h.FAULT and event.detail.get("fault") == "kill":
            fault, noticed_s, waiting = event, None, set()
        elif fault is None:
            continue
        elif event.kind == h.LOST and event.worker == fault.detail["target"]:
            noticed_s = event.at - fault.at
        elif event.kind == h.REQUEUED and event.worker == fault.detail["target"]:
            waiting.add(event.task)
        elif event.kind == h.DISPATCHED and event.task in waiting and noticed_s is not None:
            waiting.discard(event.task)
            if not waiting:
                found.append(Kill(noticed_s, event.at - fault.at))
                fault = None
    return found


def measure(setup: Setup) -> Section:
    """Return the seconds from kill -9 to its detection and to the task's next dispatch, a value per kill."""
    from labkit.cluster import open_cluster

    count = KILLS_PER_ROUND * setup.rounds
    with open_cluster(WORKERS) as cluster, executor_on(cluster) as executor:
        for number in range(count):
            _kill_one(cluster, executor, number)
        wait_until(lambda: len(kills(cluster.history().events)) >= count, "the history holds every kill")
        measured = kills(cluster.history().events)
    noticed_s, again_s = zip(*measured, strict=True)
    figures = [
        Figure("noticed", _("noticed after"), noticed_s, "s"),
        Figure("again", _("its task sent to another worker after"), again_s, "s", TARGET),
    ]
    note = _("{kills} kills among {workers} workers, from the broker's history")
    return Section(figures, [note.format(kills=len(measured), workers=WORKERS)], {"kills": len(measured)})


def _kill_one(cluster: Cluster, executor: Executor, number: int) -> None:
    """Give every worker a task, kill one worker, let the others finish, and start the killed one again."""
    futures: list[Future[Any]] = [executor.submit(sleep_for, TASK_S) for _ in range(WORKERS)]
    wait_until(lambda: all(future.running() for future in futures), "every worker works")
    victim: str = futures[number % WORKERS].worker  # type: ignore[attr-defined]
    cluster.kill(victim)
    for future in futures:
        future.result()
    cluster.start(victim)
    cluster.wait_until_ready()
