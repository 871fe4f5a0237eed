"""A read-only view of the scheduler's tables, for snapshots and for checkers.

The simulation's invariants and its online checker read a scheduler through this view and nothing else, so the
scheduler may rearrange its private parts. The tables are the live ones, not copies: read them before the next
event, and change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from labkit.core.broker.blame import Silence
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.records import OpenTask, Route
from labkit.core.broker.task_queue import TaskQueue
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.deadlines import Deadlines
from labkit.core.protocol.rules import Rules


class Tables(NamedTuple):
    """Everything that a scheduler remembers about open tasks and its peers."""

    rules: Rules
    tasks: Mapping[bytes, OpenTask]
    """Every open task, by its id."""
    queue: TaskQueue
    workers: WorkerTable
    clients: ClientTable
    deadlines: Deadlines
    silent: Mapping[Route, Silence]
    """Processes that were given up as silent, by connections that still stand."""
