"""What the generator of a load does when: submits what is due, gives up, stops. Pure: it has no clock.

::

    planned --due, room--> under way --ended--> done | failed (the error's name)
    planned --due, no room--> NOT_SENT          under way --patience over--> UNFINISHED
    planned --stop--> forgotten                 under way --stop--> INTERRUPTED

A task that is due is never put off until another one ends: that would be a closed loop, and a slow cluster
would be asked less. When too many are under way, it is not sent, and counts as an error. Instants are seconds
since the load began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labkit.load.report import Outcome

NOT_SENT, UNFINISHED, INTERRUPTED = "NotSent", "Unfinished", "Interrupted"
"""Errors of tasks without an outcome, beside the names of real errors."""
MOST_OPEN = 2_000
PATIENCE_S = 60.0
"""How long the generator waits for results after the last arrival."""
MOST_AT_ONCE = 50
"""Tasks submitted between two looks at what has ended: a burst does not hold up the clock of the results."""


class Progress(NamedTuple):
    """How far a load is."""

    planned: int
    submitted: int
    open: int
    done: int
    errors: int


class Planner:
    """One load from its first planned instant to its last outcome; see the module's head."""

    def __init__(
        self,
        arrivals: Sequence[float],
        seconds: float,
        *,
        kill_after_s: float | None = None,
        most_open: int = MOST_OPEN,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.seconds = seconds
        """How long tasks arrive; a stop makes it shorter."""
        self._arrivals = arrivals
        self._next = 0
        self._open: dict[int, float] = {}
        self._errors = 0
        self._kill_at = kill_after_s
        self._most_open = most_open
        self._ends_at = max(seconds, arrivals[-1]) + patience_s
        self._stopped = False

    def due(self, now: float) -> list[int]:
        """Return the numbers of the tasks to submit now; from here they are under way."""
        numbers: list[int] = []
        while (
            self._next < len(self._arrivals)
            and self._arrivals[self._next] <= now
            and len(numbers) < MOST_AT_ONCE
        ):
            if len(self._open) < self._most_open:
                self._open[self._next] = now
                numbers.append(self._next)
            else:
                self._note(Outcome(self._arrivals[self._next], now, now, None, "", NOT_SENT))
            self._next += 1
        return numbers

    def ended(self, number: int, at: float, compute_s: float | None, worker: str, error: str) -> None:
        """Note an outcome; ``error`` is the error's name, empty if it is done. A second one is dropped."""
        submitted = self._open.pop(number, None)
        if submitted is not None:
            self._note(Outcome(self._arrivals[number], submitted, at, compute_s, worker, error))

    def kill_due(self, now: float) -> bool:
        """Return whether it is time for the fault; True once."""
        if self._kill_at is None or now < self._kill_at or self._stopped:
            return False
        self._kill_at = None
        return True

    def give_up(self, now: float) -> None:
        """After the patience: tasks under way count as unfinished."""
        if now >= self._ends_at:
            self._end_open(now, UNFINISHED)

    def stop(self, now: float) -> None:
        """End the load: tasks not due yet are dropped, and tasks under way count as interrupted."""
        self._stopped = True
        self.seconds = min(self.seconds, max(now, 1e-9))
        self._next = len(self._arrivals)
        self._end_open(now, INTERRUPTED)

    @property
    def is_over(self) -> bool:
        """Whether every task that was due has an outcome, and none is to come."""
        return self._next == len(self._arrivals) and not self._open

    def wait_s(self, now: float) -> float:
        """Return how long nothing is to be done unless a task ends."""
        instants = [self._ends_at]
        if self._next < len(self._arrivals):
            instants.append(self._arrivals[self._next])
        if self._kill_at is not None:
            instants.append(self._kill_at)
        return max(0.0, min(instants) - now)

    def progress(self) -> Progress:
        """Return how far it is; any thread may ask."""
        ended = len(self.outcomes)
        return Progress(len(self._arrivals), self._next, len(self._open), ended - self._errors, self._errors)

    def _end_open(self, now: float, error: str) -> None:
        for number in list(self._open):
            self.ended(number, now, None, "", error)

    def _note(self, outcome: Outcome) -> None:
        self._errors += bool(outcome.error)
        self.outcomes.append(outcome)
