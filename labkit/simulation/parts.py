"""The state machines that a simulated run puts together; a mutation check replaces some by broken ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labkit.core.autoscaler import Autoscaler, Limits
from labkit.core.broker.scheduler import Scheduler
from labkit.core.peers.client_session import ClientSession
from labkit.core.peers.quiet_process import QuietProcess
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol.rules import Rules
from labkit.simulation.worker_slot import WorkerSlot


@dataclass(frozen=True)
class Parts:
    """The real ones, unless told otherwise."""

    scheduler: Callable[..., Scheduler] = Scheduler
    worker_session: Callable[..., WorkerSession] = WorkerSession
    client_session: Callable[..., ClientSession] = ClientSession
    quiet_process: Callable[[Rules], QuietProcess] = QuietProcess
    autoscaler: Callable[[Limits, float], Autoscaler] = Autoscaler
    limits: Limits | None = None
    """The autoscaler's bounds; None: drawn from the seed."""
    dismiss: Callable[[WorkerSlot], None] = WorkerSlot.stop
    """How a worker is removed that the autoscaler does not need any more."""
    sweep_first: bool = False
    """Whether the broker's loop judges silent peers before it has read what arrived."""
