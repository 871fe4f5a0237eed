"""What a fault does when it strikes: to workers, links, the broker, clients.

Each function but ``carry_out`` is called when the time has come and chooses among the processes that are
there then. Every strike is written into the history before it takes effect, as a real one is
(``Client.note``).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVarTuple, Unpack

from labkit.simulation.broker import BrokerHost
from labkit.simulation.clients import ClientProcess
from labkit.simulation.connection import USUAL_BYTES_PER_S
from labkit.simulation.process import Process
from labkit.simulation.scenario import Strike
from labkit.simulation.worker_slot import WorkerSlot
from labkit.simulation.world import World

Arguments = TypeVarTuple("Arguments")


def _later(
    world: World, delay_s: float, action: Callable[[Unpack[Arguments]], object], *args: *Arguments
) -> None:
    """Undo something after a while, unless healing has already undone everything."""
    world.loop.after(delay_s, _unless_over, world, action, *args)


def _unless_over(world: World, action: Callable[[Unpack[Arguments]], object], *args: *Arguments) -> None:
    if not world.faults_over:
        action(*args)


def _living(world: World, random: Random) -> WorkerSlot | None:
    """Return a slot with a living process, at random."""
    living = [slot for slot in world.slots if slot.up is not None]
    return random.choice(living) if living else None


def _any_process(world: World, random: Random) -> Process | None:
    """Return a worker's or client's process, more often a worker's."""
    workers = [slot.up for slot in world.slots if slot.up is not None]
    clients = [client for client in world.clients if client.alive]
    kind: list[Process] = [*clients] if not workers or random.random() < 0.3 else [*workers]
    return random.choice(kind) if kind else None


def carry_out(world: World, strike: Strike) -> None:
    """Do what a scenario names, to whom it names, unless healing has already undone everything."""
    if world.faults_over:
        return
    world.note(strike.what, strike.target)
    slot = next((slot for slot in world.slots if slot.name == strike.target), None)
    if strike.what == "heal":
        _to_broker(world.broker, "resume")
        for frozen in world.slots:
            _to_worker(frozen, "resume")
    elif strike.target == "broker":
        _to_broker(world.broker, strike.what)
    elif slot is not None:
        _to_worker(slot, strike.what)


def _to_broker(broker: BrokerHost, what: str) -> None:
    if what == "kill":
        broker.kill()
    elif what == "start":
        broker.start()
    elif what == "pause":
        broker.freeze()
    elif what == "resume":
        broker.thaw()


def _to_worker(slot: WorkerSlot, what: str) -> None:
    if what == "kill":
        slot.kill()
    elif what == "stop":
        slot.stop()
    elif what == "start":
        slot.start()
    elif slot.up is not None and what == "pause":
        slot.up.struck_at = slot.up.loop.now
        slot.up.freeze()
    elif slot.up is not None and what == "resume":
        slot.up.thaw()


# --- workers ------------------------------------------------------------------------------------------------


def kill(world: World, random: Random) -> None:
    """Kill a worker, and start it again later."""
    slot = _living(world, random)
    if slot is not None:
        world.note("kill", slot.name)
        slot.kill()
        _later(world, random.uniform(0.05, 4.0), _start, world, slot)


def _start(world: World, slot: WorkerSlot) -> None:
    if slot.dismissed:
        return
    if slot.up is None:
        world.note("start", slot.name)
    slot.start()


def storm(world: World, random: Random) -> None:
    """Kill one worker after another at random, for seconds; each is started again at once."""
    _kill_again(world, random, random.uniform(0.1, 0.8), world.loop.now + random.uniform(3.0, 9.0))


def _kill_again(world: World, random: Random, every_s: float, until: float) -> None:
    slot = _living(world, random)
    if slot is not None:
        world.note("kill", slot.name)
        slot.kill()
        _later(world, random.uniform(0.05, 0.4), _start, world, slot)
    if world.loop.now + every_s < until:
        _later(world, every_s, _kill_again, world, random, every_s, until)


def drain(world: World, random: Random) -> None:
    """Ask a worker to stop, and start it again later."""
    slot = _living(world, random)
    if slot is not None:
        world.note("stop", slot.name)
        slot.stop()
        _later(world, random.uniform(0.1, 4.0), _start, world, slot)


def pause(world: World, random: Random) -> None:
    """Freeze a worker, for less or for more than the time after which it counts as lost."""
    slot = _living(world, random)
    if slot is not None and slot.up is not None:
        _freeze(world, slot.up, random.choice((random.uniform(0.1, 1.9), random.uniform(2.0, 6.0))))


def _freeze(world: World, process: Process, for_s: float) -> None:
    world.note("pause", process.name)
    process.struck_at = world.loop.now
    process.freeze()
    _later(world, for_s, _thaw, world, process)


def _thaw(world: World, process: Process) -> None:
    if process.frozen:
        world.note("resume", process.name)
        process.thaw()


def slow(world: World, random: Random) -> None:
    """Let a worker compute slowly, or give it a slow link, for a while."""
    slot = _living(world, random)
    if slot is None:
        return
    if random.random() < 0.5:
        world.note("slow", slot.name)
        slot.slowness = random.choice((3.0, 10.0, 30.0))
        _later(world, random.uniform(1.0, 6.0), setattr, slot, "slowness", slot.usual_slowness)
    else:
        world.note("slow_link", slot.name)
        before = slot.link.latency_s, slot.link.jitter_s
        slot.link.latency_s, slot.link.jitter_s = random.uniform(0.05, 0.2), random.uniform(0.0, 0.1)
        slot.link.bytes_per_s = random.uniform(1.1, 3.0) * world.rules.slow_link_bytes_per_s
        _later(world, random.uniform(2.0, 8.0), _fast, slot, *before)


def _fast(slot: WorkerSlot, latency_s: float, jitter_s: float) -> None:
    slot.link.latency_s, slot.link.jitter_s, slot.link.bytes_per_s = latency_s, jitter_s, USUAL_BYTES_PER_S


def duplicate(world: World, random: Random) -> None:
    """Start a second worker with the id of another one, for a while."""
    slot = _living(world, random)
    if slot is not None:
        world.note("duplicate", slot.name)
        twin = world.intruder(slot)
        twin.start()
        _later(world, random.uniform(0.5, 5.0), twin.kill)


def autoscale(world: World, random: Random) -> None:
    """Let an autoscaler decide how many workers run, from the start or from later on."""
    world.loop.at(random.choice((0.0, random.uniform(0.0, world.safety_s / 2))), world.autoscale, random)


# --- links --------------------------------------------------------------------------------------------------


def partition(world: World, random: Random) -> None:
    """Cut the link of a worker or client, one way or both, and mend it later."""
    process = _any_process(world, random)
    if process is None or process.link.cut:
        return
    up, down = random.choice(((True, True), (True, True), (True, False), (False, True)))
    world.note("partition", process.name)
    world.network.cut(process.link, up, down)
    _later(world, random.uniform(0.2, 8.0), _mend, world, process, random.random() < 0.5)


def _mend(world: World, process: Process, keep: bool) -> None:
    if process.link.cut:
        world.note("mend", process.name)
        world.network.mend(process.link, keep)


def break_connection(world: World, random: Random) -> None:
    """Break the connections of a worker or client, once or several times."""
    process = _any_process(world, random)
    if process is not None:
        again = random.choice((0.0, 0.0, 0.4, 0.8))
        _break_link(world, random, process, again)


def _break_link(world: World, random: Random, process: Process, again: float) -> None:
    """Break the connections of a process. Perhaps only one end learns of it; perhaps it breaks ``again``.

    A second break at once loses a hello or a welcome; later ones let no connection of this link last.
    """
    world.note("break", process.name)
    broker_learns, peer_learns = random.choice(((True, True), (True, True), (False, True), (True, False)))
    process.link.mended_at = world.loop.now
    for connection in list(process.link.connections):
        connection.break_down(broker_learns, peer_learns)
    if random.random() < again:
        delay_s = random.choice((random.uniform(0.09, 0.12), random.uniform(0.3, 1.5)))
        _later(world, delay_s, _break_link, world, random, process, again)


# --- broker -------------------------------------------------------------------------------------------------


def broker_restart(world: World, random: Random) -> None:
    """Kill the broker, and start a new one later."""
    if world.broker.up:
        world.note("kill", "broker")
        world.broker.kill()
        _later(world, random.choice((0.05, random.uniform(0.1, 3.0))), _broker_start, world)


def _broker_start(world: World) -> None:
    if not world.broker.up:
        world.note("start", "broker")
        world.broker.start()


def broker_freeze(world: World, random: Random) -> None:
    """Freeze the broker for a while."""
    if world.broker.accepts:
        world.note("pause", "broker")
        world.broker.freeze()
        _later(world, random.choice((random.uniform(0.1, 2.0), 5.0, 7.5)), _broker_thaw, world)


def _broker_thaw(world: World) -> None:
    if world.broker.frozen:
        world.note("resume", "broker")
        world.broker.thaw()


# --- clients ------------------------------------------------------------------------------------------------


def _client(world: World, random: Random, leave: int) -> ClientProcess | None:
    clients = [client for client in world.clients if client.alive]
    return random.choice(clients) if len(clients) > leave else None


def client_vanish(world: World, random: Random) -> None:
    """Kill a client, or let it leave with tasks open; never the last client."""
    client = _client(world, random, leave=1)
    if client is None:
        return
    if random.random() < 0.5:
        world.note("kill", client.name)
        client.end(lost=random.choice((0, 1, 3)))
    else:
        world.note("stop", client.name)
        client.leave()


def client_pause(world: World, random: Random) -> None:
    """Freeze a client for a while."""
    client = _client(world, random, leave=0)
    if client is not None:
        _freeze(world, client, random.choice((random.uniform(0.1, 2.0), random.uniform(2.0, 14.0))))
