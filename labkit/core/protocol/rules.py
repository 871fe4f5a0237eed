"""The numbers that broker, workers and clients agree on: periods, patience and bounds.

Every state machine gets the same frozen record. The broker's WELCOME contains the part that its peers need,
so the two sides of a connection cannot disagree about how long silence may last.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_NAME = 256
"""Characters of a worker id, of a client's name and of a job's name."""
MAX_SLOTS = 64
"""Tasks that one worker may compute at the same time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Timing in seconds, sizes in bytes. The defaults suit a class of thirty laptops."""

    ack_delay_s: float = 0.005
    """Acknowledgements wait this long to travel together; a task that is done by then needs none."""
    heartbeat_s: float = 0.5
    """Each side sends something at least this often."""
    suspect_s: float = 1.0
    """A worker silent for this long gets no new work."""
    dead_s: float = 2.0
    """A peer silent for this long is lost; its tasks are requeued."""
    broker_gone_s: float = 6.0
    """A broker silent for this long is gone: workers and clients open a new connection. This is longer than
    ``dead_s``, because the death of a broker closes its connections and is noticed at once; silence only
    detects a vanished host."""
    slow_link_bytes_per_s: float = 5e6
    """Patience with announced bulk: a peer that sends n bytes may be silent n / this seconds longer."""

    lease_s: float = 30.0
    """How long one attempt of a task may run before it counts as hung."""
    task_deadline_s: float = 3600.0
    """How long a task may stay open after submission if its client sets no budget."""
    drain_s: float = 10.0
    """How long a stopping worker may take to finish what it holds."""
    client_gone_s: float = 10.0
    """A client silent for this long is gone; its open tasks are cancelled."""

    work_ahead_s: float = 0.005
    """How much expected work a worker may hold beyond what it is computing."""
    max_ahead: int = 128
    """How many tasks a worker may hold at most, however small they are."""
    max_crashes: int = 3
    """A task that was running in this many crashed workers is poisoned."""
    max_hangs: int = 2
    """A task that outran its lease this often fails as hung."""

    max_queued_tasks: int = 100_000
    max_queued_bytes: int = 1 << 30
    max_client_tasks: int = 50_000
    """Quota of one client: its open tasks."""
    max_client_bytes: int = 512 << 20
    busy_retry_s: float = 0.1
    """How long a client waits after BUSY."""

    max_unseen_bytes: int = 256 << 20
    """Memory that a broker may use beyond what its tables explain, before it disconnects idle peers."""

    max_message_bytes: int = 256 << 20
    max_frames: int = 64
    max_workers: int = 10_000
    max_clients: int = 10_000
