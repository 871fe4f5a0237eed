"""The witness's own picture of an open task and of a living worker, and its report if they do not fit."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

QUEUED: Final = "queued"
ASSIGNED: Final = "assigned"


class Violation(NamedTuple):
    """A broken promise: which, when (virtual seconds), and what was wrong."""

    invariant: str
    at: float
    why: str


class Broken(Exception):
    """Raised at the first violation: what comes after it is not worth simulating."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


class Seen:
    """An open task as the history tells it."""

    __slots__ = ("attempt", "client", "needs", "number", "sent", "sent_at", "started_at", "state", "worker")

    def __init__(self, client: str, needs: frozenset[str], number: int) -> None:
        self.client = client
        self.needs = needs
        self.number = number
        self.state = QUEUED
        self.worker = ""
        self.attempt = 0
        self.started_at: float | None = None
        self.sent: dict[int, tuple[str, str]] = {}  # attempt -> (worker, epoch)
        self.sent_at: dict[int, float] = {}


class Hand:
    """A living worker as the history tells it."""

    __slots__ = ("capabilities", "draining", "epoch", "held", "revoked", "route", "slots", "suspect")

    def __init__(self, epoch: str, slots: int, capabilities: frozenset[str]) -> None:
        self.epoch = epoch
        self.slots = slots
        self.capabilities = capabilities
        self.route: Any = None
        self.held: set[str] = set()
        self.revoked: set[tuple[str, int]] = set()  # taken from it, and it has not answered yet
        self.suspect = False
        self.draining = False

    @property
    def in_flight(self) -> int:
        """How many attempts were sent to it and not answered."""
        return len(self.held) + len(self.revoked)

    def ready_for(self, needs: frozenset[str]) -> bool:
        """Return whether it could get a task with these needs, credit aside."""
        return not (self.suspect or self.draining) and (not self.capabilities or needs <= self.capabilities)
