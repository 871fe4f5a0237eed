"""Offers a load to a cluster, on time: submits at the planned instants, however the cluster copes.

One thread, the caller's, follows the plan and takes the outcomes, which arrive through a queue from the
target's threads. ``planner`` decides what happens when. It never waits for a result before it submits
the next task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from labkit.core.errors import LabkitError
from labkit.load.arrivals import Load
from labkit.load.planner import PATIENCE_S, Planner, Progress
from labkit.load.ramp import Ramp
from labkit.load.report import Outcome, Report, report
from labkit.load.targets import Ending, Target

STEP_PATIENCE_S = 10.0
"""How long a step of a ramp waits for its last results."""

Watch = Callable[[Planner, float], object]
"""Called at the begin of a load with its planner and the instant of ``time.monotonic`` at which it began."""


class Offered(NamedTuple):
    """What a load was, and what came of it."""

    outcomes: list[Outcome]
    report: Report | None
    """None if it was interrupted before the first task."""
    seconds: float
    """How long tasks arrived."""
    interrupted: bool
    progress: Progress


class Generator:
    """Offers loads to the target that ``make`` returns for a callback; ``close`` leaves it."""

    def __init__(self, make: Callable[[Callable[[Ending], object]], Target]) -> None:
        self._endings: SimpleQueue[Ending] = SimpleQueue()
        self._target = make(self._endings.put)
        self._first = 0  # the number of the next load's first task: endings of an earlier load are told apart

    def offer(
        self,
        load: Load,
        *,
        kill_after_s: float | None = None,
        kill: Callable[[], object] = lambda: None,
        watch: Watch = lambda _planner, _began: None,
        patience_s: float = PATIENCE_S,
    ) -> Offered:
        """Offer a load; return when each of its tasks has an outcome. Ctrl-C ends it with what there is.

        ``kill`` is called after ``kill_after_s`` seconds, and has to return at once.
        """
        arrivals = load.arrivals()
        planner = Planner(
            arrivals,
            load.seconds,
            kill_after_s=kill_after_s,
            most_open=self._target.most_open,
            patience_s=patience_s,
        )
        interrupted = False
        first, self._first = self._first, self._first + len(arrivals)
        began = time.monotonic()
        watch(planner, began)
        try:
            while not planner.is_over:
                self._step(planner, began, first, kill)
        except KeyboardInterrupt:
            interrupted = True
            planner.stop(time.monotonic() - began)
        if planner.progress().errors:
            self._target.drop()
        outcomes = sorted(planner.outcomes, key=lambda outcome: outcome.planned)
        figures = report(outcomes, planner.seconds) if outcomes else None
        return Offered(outcomes, figures, planner.seconds, interrupted, planner.progress())

    def ramp(
        self, start: float, bound_s: float, make: Callable[[float], Load], watch: Watch
    ) -> tuple[Ramp, bool]:
        """Return the search for the knee, and whether Ctrl-C ended it; ``make`` returns a rate's load."""
        search = Ramp(start, bound_s)
        while not search.over:
            rate = search.next_rate()
            offered = self.offer(make(rate), watch=watch, patience_s=max(STEP_PATIENCE_S, 2 * bound_s))
            if offered.interrupted or offered.report is None:
                return search, True
            search.take(rate, offered.report)
        return search, False

    def close(self) -> None:
        """Cancel what is under way, and leave the cluster."""
        self._target.close()

    def _step(self, planner: Planner, began: float, first: int, kill: Callable[[], object]) -> None:
        for number in planner.due(time.monotonic() - began):
            try:
                self._target.submit(first + number)
            except LabkitError as error:
                planner.ended(number, time.monotonic() - began, None, "", type(error).__name__)
        if planner.kill_due(time.monotonic() - began):
            kill()
        wait_s = planner.wait_s(time.monotonic() - began)
        try:
            while True:
                ending = self._endings.get(timeout=wait_s) if wait_s else self._endings.get_nowait()
                number, at = ending.number - first, ending.at - began
                planner.ended(number, at, ending.compute_s, ending.worker, ending.error)
                wait_s = 0.0
                if planner.is_over:
                    return
        except Empty:
            planner.give_up(time.monotonic() - began)
