"""Messages that are well-formed and wrong; none of them may change more than a counter."""

from __future__ import annotations

from random import Random
from typing import Final

from labkit.core.broker.inputs import FromClient, FromWorker
from labkit.core.protocol import messages as m
from labkit.simulation.broker import Garbage
from labkit.simulation.connection import Connection
from labkit.simulation.world import World

STRANGER: Final = -1
"""A route by which no peer has said hello."""


def _may_speak(world: World, connection: Connection) -> bool:
    """Return whether a message may arrive by it now without meaning anything.

    Nothing overtakes bulk that was announced, and any message of a silent worker shows that it lives.
    """
    tables = world.broker.tables
    if connection.route in tables.silent:
        return False
    worker = tables.workers.at(connection.route)
    return connection.of_worker and (worker is None or not worker.patience_s)


def garbage(world: World, random: Random) -> None:
    """Send the broker well-formed messages that are wrong: forged, stale, out of place, from a stranger."""
    if not world.broker.accepts:
        return
    world.note("garbage", "broker")
    routes = [
        route for route, connection in world.broker.connections.items() if _may_speak(world, connection)
    ]
    tasks = list(world.broker.tables.tasks) or [random.randbytes(16)]
    for _ in range(random.randint(1, 12)):
        route = random.choice([*routes, STRANGER])
        task, attempt = random.choice([*tasks, random.randbytes(16)]), random.randint(1000, 9999)
        wrong = m.Payload(b"a wrong result")
        message = random.choice(
            (
                m.Done(task, attempt, 0.1, wrong), m.Done(task, attempt, float("nan"), wrong),
                m.Started(task, attempt, 1), m.Returned(task, attempt),
                m.WorkerError(task, attempt, 0.1, "HUNG", "", wrong),
                m.WorkerError(task, attempt, 0.1, "?", "", wrong),
                m.WorkerHello(b"", b"", 0, 1, "worker-1", ""),
                m.WorkerHello(b"x" * 8, b"y" * 8, 1, 1, "", ""),
                m.Task(task, attempt, 1.0, 0, wrong), m.Stale(),
            )
        )  # fmt: skip
        world.broker.inject(Garbage(FromWorker(route, message)))
        if route != STRANGER and type(message) is not m.WorkerHello:
            world.broker.connections[route].last_arrival = world.loop.now  # any traffic counts
        world.broker.inject(
            Garbage(
                FromClient(STRANGER, random.choice((m.Cancel(task), m.Heartbeat(), m.Query(1), m.Stale())))
            )
        )
        known = m.Submit(random.choice(tasks), 9.0, 9.0, "forged", "", wrong)
        record = next((c for c in world.broker.tables.clients if c.route is not None), None)
        if record is not None and known.task in world.broker.tables.tasks:
            world.broker.inject(Garbage(FromClient(record.route, known)))
