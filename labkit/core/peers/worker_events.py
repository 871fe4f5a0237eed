"""The vocabulary between a worker's session and its shell: events go in, actions come out.

``labkit.core.peers.worker_session`` decides; the shell (``workers/``) reports the events and carries out the
actions. ``WorkerTables`` is what checkers may look at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from labkit.core.peers.session import Connect, Send
from labkit.core.protocol import messages as m

# --- events -------------------------------------------------------------------------------------------------


class Began(NamedTuple):
    """An attempt has been computing since ``at`` and is not done yet."""

    task: bytes
    attempt: int
    at: float


class Finished(NamedTuple):
    """An attempt has a result."""

    task: bytes
    attempt: int
    compute_s: float
    payload: m.Payload


class Raised(NamedTuple):
    """An attempt raised; ``payload.body`` is the traceback."""

    task: bytes
    attempt: int
    compute_s: float
    error: str
    payload: m.Payload


class Withdrawn(NamedTuple):
    """The attempt was still waiting for its turn and will not run."""

    task: bytes
    attempt: int


class StopAsked(NamedTuple):
    """Drain and leave (SIGTERM)."""


# --- actions ------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """Compute this attempt when its turn comes."""

    task: m.Task


class Withdraw(NamedTuple):
    """Do not compute this attempt if it still waits; answered by ``Withdrawn`` in that case."""

    task: bytes
    attempt: int


class Exit(NamedTuple):
    """Leave with this exit code; ``reason`` is for the log."""

    code: int
    reason: str


Key = tuple[bytes, int]  # task, attempt


class Lease(NamedTuple):
    """Since when an attempt has been computing, and when it counts as hung."""

    since: float
    until: float
    lease_s: float


class WorkerTables(NamedTuple):
    """Read-only view of what a worker holds, for checkers."""

    held: Mapping[Key, m.Task]
    """Every attempt that this epoch must answer."""
    line: Collection[m.Task]
    """Held, and not handed to the shell yet."""
    runs: Mapping[Key, Lease | None]
    """Every attempt that the shell has, of former epochs too; with a lease once it computes."""


Event = Began | Finished | Raised | Withdrawn | StopAsked
Action = Send | Connect | Run | Withdraw | Exit
