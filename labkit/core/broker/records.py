"""The records in the broker's tables: a task, a worker, the workers of equal capabilities, a client.

The records refer to each other (a task to its client and its worker, both back to their tasks), so they stand
in one module; the tables that hold them (``task_queue``, ``worker_table``, ``client_table``) import only this
one. Only the scheduler and its parts change a record.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum

from labkit.core.protocol.messages import Payload

Route = Hashable
"""Names one connection: a ZeroMQ routing id in the broker, any hashable object in a test."""


class State(Enum):
    """Where an open task is. A task that has ended is in no table; only the history has it."""

    QUEUED = "queued"
    ASSIGNED = "assigned"


class OpenTask:
    """One accepted task without an outcome yet. Implements ``policies.TaskView``."""

    __slots__ = (
        "attempt", "careful", "client", "crashed", "deadline", "expected_s", "forgiven", "hex", "holders",
        "hung", "id", "job", "label", "lease_s", "needs", "payload", "release_at", "silences", "size",
        "started_at", "state", "suspect_since", "tick", "worker",
    )  # fmt: skip

    def __init__(
        self,
        id: bytes,
        client: ClientRecord,
        job: str,
        needs: frozenset[str],
        lease_s: float,
        deadline: float,
        payload: Payload,
        submitted_at: float = 0.0,
    ) -> None:
        self.id = id
        self.hex = id.hex()
        self.label = self.hex, job, submitted_at
        """What people see of it while it waits (``snapshot.Label``). A snapshot keeps it, not the payload."""
        self.client = client
        self.job = job
        self.needs = needs
        self.lease_s = lease_s
        self.deadline = deadline
        self.payload = payload
        self.size = payload.size
        self.tick = 0
        self.state = State.QUEUED
        self.attempt = 0
        self.worker: Worker | None = None
        self.started_at: float | None = None
        self.expected_s = 0.0
        self.crashed: tuple[bytes, ...] = ()  # the processes (instances) that died while it ran in them
        self.hung: frozenset[int] = frozenset()  # the attempts that outran their lease
        self.silences = 0  # how many workers fell silent while they had it
        self.careful = False
        self.release_at = 0.0  # if it is set aside
        self.suspect_since: float | None = None  # it waits for the verdict on its crashes
        self.forgiven = False  # its crashes were once found to be accidents
        # The key of the worker that each earlier attempt was taken from; empty for most tasks.
        self.holders: dict[int, bytes] = {}

    @property
    def crashes(self) -> int:
        """How many processes died while it ran in them, as far as is known."""
        return len(self.crashed)

    @property
    def hangs(self) -> int:
        """How often it has outrun its lease."""
        return len(self.hung)


class Worker:
    """One worker of one epoch. Implements ``policies.WorkerView``."""

    __slots__ = (
        "ahead_s", "capabilities", "completed", "draining", "epoch", "group", "held_up", "id", "in_flight",
        "instance", "key", "last_dispatch", "last_heard", "last_used", "left_at", "listed", "patience_s",
        "pid", "revoked", "route", "slots", "suspect", "tasks",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        route: Route,
        instance: bytes,
        epoch: bytes,
        slots: int,
        capabilities: frozenset[str],
        pid: int,
        now: float,
    ) -> None:
        self.id = id
        self.route = route
        self.instance = instance
        self.epoch = epoch
        self.key = epoch + id.encode()  # identifies this worker in this epoch
        self.slots = slots
        self.capabilities = capabilities  # empty: all
        self.pid = pid
        self.tasks: dict[bytes, OpenTask] = {}  # in order of dispatch
        # Attempts that were taken from it and that it may still compute, with the expected time of each.
        self.revoked: dict[tuple[bytes, int], float] = {}
        self.in_flight = 0  # sent to it and not answered: ``tasks`` and ``revoked``
        self.ahead_s = 0.0
        self.completed = 0
        self.last_used = 0
        self.last_dispatch = 0
        self.last_heard = now
        self.left_at = 0.0  # when it left or was lost
        self.patience_s = 0.0  # allowance for announced bulk
        self.suspect = False
        self.draining = False
        self.held_up = False  # tasks that wait for other tasks occupy all its slots
        self.listed: int | None = None  # the load under which the index holds it
        self.group: Group | None = None

    @property
    def status(self) -> str:
        """ready, busy, suspect or draining."""
        if self.draining:
            return "draining"
        if self.suspect:
            return "suspect"
        return "busy" if self.in_flight else "ready"

    def can(self, needs: frozenset[str]) -> bool:
        """Return whether it has all the capabilities that a task needs."""
        return not self.capabilities or needs <= self.capabilities


class Group:
    """Workers of equal capabilities that may get a task now, by load."""

    __slots__ = ("capabilities", "loads", "lowest", "members")

    def __init__(self, capabilities: frozenset[str], highest: int) -> None:
        self.capabilities = capabilities
        self.members = 0
        self.loads: list[dict[str, Worker]] = [{} for _ in range(highest + 1)]
        self.lowest = highest

    def add(self, worker: Worker) -> None:
        load = worker.in_flight
        self.loads[load][worker.id] = worker
        worker.listed = load
        if load < self.lowest:
            self.lowest = load

    def discard(self, worker: Worker) -> None:
        if worker.listed is not None:
            del self.loads[worker.listed][worker.id]
            worker.listed = None

    def first(self) -> Worker | None:
        """Return the least busy worker, or None if no worker has credit."""
        loads = self.loads
        while not loads[self.lowest]:
            if self.lowest == len(loads) - 1:
                return None
            self.lowest += 1
        return next(iter(loads[self.lowest].values()))


def worker_id_of(key: bytes) -> str:
    """Return the id in a ``Worker.key``, which is an epoch of 8 bytes and the id."""
    return key[8:].decode()


class ClientRecord:
    """One client: its current route (None while disconnected), its open tasks and their bytes."""

    __slots__ = (
        "acks", "bytes", "id", "last_heard", "name", "patience_s", "refused_at", "route", "tasks", "waits",
    )  # fmt: skip

    def __init__(self, id: bytes, name: str, route: Route, now: float) -> None:
        self.id = id
        self.name = name
        self.route: Route | None = route
        self.last_heard = now
        self.patience_s = 0.0
        self.refused_at = float("-inf")
        self.tasks: dict[bytes, OpenTask] = {}
        self.bytes = 0
        self.acks: list[bytes] = []
        # What tasks wait for that run where this client lives: task -> attempt, the tasks awaited.
        self.waits: dict[bytes, tuple[int, tuple[bytes, ...]]] = {}
