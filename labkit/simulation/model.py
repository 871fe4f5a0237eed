"""The online checker's own model of the broker: what the published transitions say about tasks and workers.

It is small enough to be compared with the scheduler's tables after every single event.
"""

from __future__ import annotations

from typing import Final

from labkit.core.broker.inputs import Input
from labkit.core.broker.records import Route

QUEUED: Final = "queued"
ASSIGNED: Final = "assigned"


class ModelTask:
    """An open task, as the history describes it."""

    __slots__ = ("attempt", "client", "needs", "number", "sent", "sent_at", "started_at", "state", "worker")

    def __init__(self, client: str, needs: frozenset[str], number: int) -> None:
        self.client = client
        self.needs = needs
        self.number = number  # of its submission to this broker
        self.state = QUEUED
        self.worker = ""
        self.attempt = 0
        self.started_at: float | None = None
        self.sent: dict[int, tuple[str, str]] = {}  # attempt -> (worker, epoch)
        self.sent_at: dict[int, float] = {}


class ModelWorker:
    """A living worker, as the history describes it."""

    __slots__ = ("capabilities", "draining", "epoch", "held", "revoked", "route", "slots", "suspect")

    def __init__(self, epoch: str, slots: int, capabilities: frozenset[str]) -> None:
        self.epoch = epoch
        self.slots = slots
        self.capabilities = capabilities
        self.route: Route | None = None
        self.held: set[str] = set()
        self.revoked: set[tuple[str, int]] = set()  # taken from it, and not answered yet
        self.suspect = False
        self.draining = False

    @property
    def in_flight(self) -> int:
        """How many attempts were sent to it and not answered."""
        return len(self.held) + len(self.revoked)

    def ready_for(self, needs: frozenset[str]) -> bool:
        """Return whether it may get a task with these needs, credit aside."""
        return not (self.suspect or self.draining) and self.can(needs)

    def can(self, needs: frozenset[str]) -> bool:
        """Return whether it states these capabilities; a worker that states none can do everything."""
        return not self.capabilities or needs <= self.capabilities


class Model:
    """What one broker must know by now, from its start."""

    def __init__(self, now: float) -> None:
        self.event: Input  # what the scheduler handles now
        self.began = now
        self.awake_since = now  # the broker has neither slept nor been frozen since then
        self.last_tick = now
        self.tasks: dict[str, ModelTask] = {}
        self.queued = 0
        self.submissions = 0
        self.workers: dict[str, ModelWorker] = {}
        self.epochs: set[str] = set()  # every epoch that a worker has used
        self.epoch_of: dict[Route, str] = {}  # route -> epoch of its latest worker
        self.client_routes: dict[str, Route | None] = {}
        self.last_in_lane: dict[tuple[str, frozenset[str]], int] = {}  # client and needs -> submission
        self.poisoned: set[str] = set()
        self.ended: list[str] = []  # their clients must learn of it with the actions that follow
        self.orphans: dict[str, ModelWorker] = {}  # task -> the worker that is gone with it
