"""The simulation's checkers as they once were wrong: each replaces a method by its former version.

A seed that was kept because a checker was wrong must fail again with the wrong version. Otherwise it does not
reach what it is kept for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from unittest.mock import patch

from labkit.core.broker.inputs import Input
from labkit.core.peers.session import Phase
from labkit.simulation import garbage
from labkit.simulation.autoscaling import Autoscaling
from labkit.simulation.broker import Garbage
from labkit.simulation.connection import Connection
from labkit.simulation.ground_truth import GroundTruth
from labkit.simulation.network import Socket
from labkit.simulation.online_checker import OnlineChecker
from labkit.simulation.process import Process
from labkit.simulation.violation import violated
from labkit.simulation.worker_process import WorkerProcess
from labkit.simulation.worker_slot import WorkerSlot
from labkit.simulation.world import World


def _speaks_in_spite_of_bulk(world: World, connection: Connection) -> bool:
    return connection.of_worker and connection.route not in world.broker.tables.silent


_before = OnlineChecker.before


def _misses_short_sleeps(self: OnlineChecker, event: Input | Garbage) -> None:
    model = self._seen.model
    awake_since, slept_s = model.awake_since, self._seen.loop.now - model.last_tick
    _before(self, event)
    if slept_s <= self._seen.rules.heartbeat_s:
        model.awake_since = awake_since


def _counts_all_it_holds(self: Autoscaling, slot: WorkerSlot) -> None:
    held = len(slot.up.session.held) if slot.up is not None else 0
    self._parts.dismiss(slot)
    if held and slot.up is None:
        violated("autoscaler", self._loop.now, f"{slot.name} was removed while it held {held} tasks")


def _knows_no_instance(self: GroundTruth, name: str, epoch: str) -> None:
    return None


def _sees_breaks_only(self: Socket) -> bool:
    return self.connection is not None and self.connection.is_broken


def _takes_opening_for_a_message(self: GroundTruth, name: str) -> bool:
    client = next(client for client in self.clients if client.name == name)
    if client.session.phase is Phase.OVER:
        return True
    heard = [c.last_arrival for c in client.link.connections if c.broker_open]
    gone_s = self._rules.client_gone_s
    return self._loop.now - max(heard, default=-gone_s) >= gone_s - 1e-6


_computing = GroundTruth.computing


def _forgets_breaks(
    self: GroundTruth, task: bytes, sent: Mapping[int, tuple[str, float]], awake_since: float
) -> list[str]:
    kept = [(slot.link, slot.link.mended_at) for slot in self.slots]
    for link, _ in kept:
        link.mended_at = 0.0
    found = _computing(self, task, sent, awake_since)
    for link, mended_at in kept:
        link.mended_at = mended_at
    return found


WRONG_CHECKERS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "garbage overtakes announced bulk": lambda: patch.object(garbage, "_may_speak", _speaks_in_spite_of_bulk),
    "short sleeps are missed": lambda: patch.object(OnlineChecker, "before", _misses_short_sleeps),
    "what is given back counts as lost": lambda: patch.object(Autoscaling, "_dismiss", _counts_all_it_holds),
    "a late hello is another worker's": lambda: patch.object(GroundTruth, "instance_of", _knows_no_instance),
    "half-open connections are whole": lambda: patch.object(
        Socket, "is_half_open", property(_sees_breaks_only)
    ),
    "workers start without a tick": lambda: patch.object(WorkerProcess, "start", Process.start),
    "opening a connection is a message": lambda: patch.object(
        GroundTruth, "may_cancel", _takes_opening_for_a_message
    ),
    "breaks before a start are forgotten": lambda: patch.object(GroundTruth, "computing", _forgets_breaks),
}
"""By what is wrong: enter one, and the checker is as it was.

Two have no seed: the first 3,101 with ``broker_freeze`` pass with "short sleeps are missed", and the first
1,929 of a mix with ``break`` and ``slow`` with "half-open connections are whole".
"""
