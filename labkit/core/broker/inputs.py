"""The scheduler's inputs and outputs: the events that ``handle`` takes, and the actions that it returns.

A *route* identifies one connection; only the shell knows what it is (a ZeroMQ routing id, a number in the
simulator).
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from labkit.core.broker.records import Route
from labkit.core.history import Event
from labkit.core.protocol import messages as m

# --- inputs -------------------------------------------------------------------------------------------------


class FromClient(NamedTuple):
    """A message arrived on the clients' socket."""

    route: Route
    message: m.Message


class FromWorker(NamedTuple):
    """A message arrived on the workers' socket."""

    route: Route
    message: m.Message


class ClientClosed(NamedTuple):
    """A client's connection is gone."""

    route: Route


class WorkerClosed(NamedTuple):
    """A worker's connection is gone; on one machine this comes within milliseconds of its death."""

    route: Route


class Tick(NamedTuple):
    """Everything that had arrived was handed over: judge liveness, expire deadlines, hand out work."""


Input = FromClient | FromWorker | ClientClosed | WorkerClosed | Tick

# --- outputs ------------------------------------------------------------------------------------------------


class ToClient(NamedTuple):
    """Send this message on the clients' socket."""

    route: Route
    message: m.BrokerToClient


class ToWorker(NamedTuple):
    """Send this message on the workers' socket."""

    route: Route
    message: m.BrokerToWorker


Action = ToClient | ToWorker


class Output:
    """What the scheduler's parts have produced since it was last taken; all of them append to these lists."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.counters: Counter[str] = Counter()
