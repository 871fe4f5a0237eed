"""Everything that may be done to a simulated cluster, each kind under the name by which it is asked for.

A fault's *planner* puts some strikes on the clock; who is struck is chosen when the time comes, among those
who are there. Every strike is written into the history before it takes effect, as a real one is
(``Client.note``).

``hang``, ``lock``, ``poison`` and ``error`` are not done to the cluster but carried by tasks (``work.py``),
and ``flood`` is a matter of small quotas (``run.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from labkit.core.broker.inputs import FromClient, FromWorker
from labkit.core.errors import N_, InvalidInput
from labkit.core.protocol import messages as m
from labkit.simulation.broker import Garbage
from labkit.simulation.clients import ClientProcess
from labkit.simulation.network import USUAL_BYTES_PER_S, Connection
from labkit.simulation.process import Process
from labkit.simulation.workers import Post
from labkit.simulation.world import World

STRANGER: Final = -1
"""A route by which nobody ever said hello."""


class Fault(NamedTuple):
    """A kind of fault: what it does, for people, and who puts it on the clock (None: the tasks carry it)."""

    what: str
    plan: Callable[[World, Random], None] | None = None


def _at(world: World, random: Random, most: int, strike: Callable[[World, Random], None]) -> None:
    """Let something strike one to ``most`` times while faults are allowed."""
    for _ in range(random.randint(1, most)):
        world.loop.at(random.uniform(0.05, world.safety_s * 0.9), _strike, world, random, strike)


def _strike(world: World, random: Random, strike: Callable[[World, Random], None]) -> None:
    if not world.faults_over:
        strike(world, random)


def _later(world: World, delay_s: float, action: Callable[..., None], *args: object) -> None:
    """Undo something after a while, unless healing has already undone everything."""
    world.loop.after(delay_s, _unless_over, world, action, *args)


def _unless_over(world: World, action: Callable[..., None], *args: object) -> None:
    if not world.faults_over:
        action(*args)


def _living(world: World, random: Random) -> Post | None:
    """Return a post with a process in it, at random."""
    living = [post for post in world.posts if post.up is not None]
    return random.choice(living) if living else None


def _anybody(world: World, random: Random) -> Process | None:
    """Return a worker's or client's process, more often a worker's."""
    workers = [post.up for post in world.posts if post.up is not None]
    clients = [client for client in world.clients if client.alive]
    kind: list[Process] = [*clients] if not workers or random.random() < 0.3 else [*workers]
    return random.choice(kind) if kind else None


# --- workers ------------------------------------------------------------------------------------------------


def _kill(world: World, random: Random) -> None:
    post = _living(world, random)
    if post is not None:
        world.note("kill", post.name)
        post.kill()
        _later(world, random.uniform(0.05, 4.0), _start, world, post)


def _start(world: World, post: Post) -> None:
    if post.dismissed:
        return
    if post.up is None:
        world.note("start", post.name)
    post.start()


def _drain(world: World, random: Random) -> None:
    post = _living(world, random)
    if post is not None:
        world.note("stop", post.name)
        post.stop()
        _later(world, random.uniform(0.1, 4.0), _start, world, post)


def _pause(world: World, random: Random) -> None:
    post = _living(world, random)
    if post is not None and post.up is not None:
        _freeze(world, post.up, random.choice((random.uniform(0.1, 1.9), random.uniform(2.0, 6.0))))


def _freeze(world: World, process: Process, for_s: float) -> None:
    world.note("pause", process.name)
    process.struck_at = world.loop.now
    process.freeze()
    _later(world, for_s, _thaw, world, process)


def _thaw(world: World, process: Process) -> None:
    if process.frozen:
        world.note("resume", process.name)
        process.thaw()


def _slow(world: World, random: Random) -> None:
    post = _living(world, random)
    if post is None:
        return
    if random.random() < 0.5:
        world.note("slow", post.name)
        post.slowness = random.choice((3.0, 10.0, 30.0))
        _later(world, random.uniform(1.0, 6.0), setattr, post, "slowness", 1.0)
    else:
        world.note("slow_link", post.name)
        before = post.link.latency_s, post.link.jitter_s
        post.link.latency_s, post.link.jitter_s = random.uniform(0.05, 0.2), random.uniform(0.0, 0.1)
        post.link.bytes_per_s = random.uniform(1.1, 3.0) * world.rules.slow_link_bytes_per_s
        _later(world, random.uniform(2.0, 8.0), _fast, post, *before)


def _fast(post: Post, latency_s: float, jitter_s: float) -> None:
    post.link.latency_s, post.link.jitter_s, post.link.bytes_per_s = latency_s, jitter_s, USUAL_BYTES_PER_S


def _duplicate(world: World, random: Random) -> None:
    post = _living(world, random)
    if post is not None:
        world.note("duplicate", post.name)
        twin = world.intruder(post)
        twin.start()
        _later(world, random.uniform(0.5, 5.0), twin.kill)


def _autoscale(world: World, random: Random) -> None:
    world.loop.at(random.choice((0.0, random.uniform(0.0, world.safety_s / 2))), world.autoscale, random)


# --- links --------------------------------------------------------------------------------------------------


def _partition(world: World, random: Random) -> None:
    process = _anybody(world, random)
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


def _break(world: World, random: Random) -> None:
    process = _anybody(world, random)
    if process is not None:
        again = random.choice((0.0, 0.0, 0.4, 0.8))
        _break_link(world, random, process, again)


def _break_link(world: World, random: Random, process: Process, again: float) -> None:
    """Break what connects a process. Perhaps only one end learns of it; perhaps it breaks ``again`` soon.

    At once: then a hello or a welcome is lost. A little later: then nothing ever lasts on this link.
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


def _broker_restart(world: World, random: Random) -> None:
    if world.broker.up:
        world.note("kill", "broker")
        world.broker.kill()
        _later(world, random.choice((0.05, random.uniform(0.1, 3.0))), _broker_start, world)


def _broker_start(world: World) -> None:
    if not world.broker.up:
        world.note("start", "broker")
        world.broker.start()


def _broker_freeze(world: World, random: Random) -> None:
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


def _client_vanish(world: World, random: Random) -> None:
    client = _client(world, random, leave=1)
    if client is None:
        return
    if random.random() < 0.5:
        world.note("kill", client.name)
        client.end(lost=random.choice((0, 1, 3)))
    else:
        world.note("stop", client.name)
        client.leave()


def _client_pause(world: World, random: Random) -> None:
    client = _client(world, random, leave=0)
    if client is not None:
        _freeze(world, client, random.choice((random.uniform(0.1, 2.0), random.uniform(2.0, 14.0))))


# --- garbage ------------------------------------------------------------------------------------------------


def _may_speak(world: World, connection: Connection) -> bool:
    """Return whether something may arrive by it now and mean nothing.

    Nothing overtakes bulk that was announced; and whatever a silent worker says shows that it lives.
    """
    tables = world.broker.tables
    if connection.route in tables.silent:
        return False
    worker = tables.workers.at(connection.route)
    return connection.of_worker and (worker is None or not worker.patience_s)


def _garbage(world: World, random: Random) -> None:
    """Well-formed messages that are wrong: forged, stale, out of place, from nobody."""
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


def _plan(most: int, strike: Callable[[World, Random], None]) -> Callable[[World, Random], None]:
    return lambda world, random: _at(world, random, most, strike)


FAULTS: Final[dict[str, Fault]] = {
    "kill": Fault(N_("a worker is killed and started again"), _plan(4, _kill)),
    "pause": Fault(N_("a worker is frozen for a while"), _plan(3, _pause)),
    "partition": Fault(N_("a link is cut, one way or both, and mended"), _plan(3, _partition)),
    "break": Fault(N_("a connection breaks under two living ends"), _plan(5, _break)),
    "slow": Fault(N_("a worker computes slowly, or its link is slow"), _plan(3, _slow)),
    "drain": Fault(N_("a worker is asked to stop, and started again"), _plan(3, _drain)),
    "autoscale": Fault(N_("an autoscaler starts and drains workers as the work asks"), _autoscale),
    "duplicate": Fault(N_("a second worker with the id of another one is started"), _plan(2, _duplicate)),
    "hang": Fault(N_("some tasks never end")),
    "lock": Fault(N_("some tasks keep the interpreter lock, for seconds or for ever")),
    "poison": Fault(N_("some tasks kill their worker")),
    "error": Fault(N_("some tasks raise an exception")),
    "broker_restart": Fault(N_("the broker is killed and a new one started"), _plan(2, _broker_restart)),
    "broker_freeze": Fault(N_("the broker is frozen for a while"), _plan(2, _broker_freeze)),
    "client_vanish": Fault(N_("a client is killed"), _plan(1, _client_vanish)),
    "client_pause": Fault(N_("a client is frozen for a while"), _plan(2, _client_pause)),
    "cancel": Fault(N_("some tasks are cancelled by their clients")),
    "flood": Fault(N_("quotas are small, so that clients hear BUSY")),
    "garbage": Fault(
        N_("the broker gets messages that are forged, stale or out of place"), _plan(4, _garbage)
    ),
}
NATURES: Final = {
    "hang": ("hangs",), "lock": ("locks", "stalls"), "poison": ("poison",), "error": ("raises",),
}  # fmt: skip


def checked(faults: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names themselves, or raise InvalidInput for one that is unknown."""
    for name in faults:
        if name not in FAULTS:
            raise InvalidInput(
                N_("fault {name!r} is unknown; known: {known}"), name=name, known=", ".join(sorted(FAULTS))
            )
    return faults


def mix(seed: int) -> tuple[str, ...]:
    """Return a seed's own mix of faults: mostly a few kinds together, sometimes all, sometimes none."""
    random = Random(f"{seed} mix")
    names = sorted(FAULTS)
    count = random.choice((0, 1, 2, 3, 3, 4, 5, 6, 8, len(names)))
    return tuple(sorted(random.sample(names, count)))
