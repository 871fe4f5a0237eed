"""A whole cluster on a virtual clock: broker, workers, clients, links, and what may be done to them.

A run has two phases. *Safety*: faults strike while tasks are submitted and computed. *Liveness*: the faults
stop, a broker, the clients and at least one capable worker remain, and everything must end within a bound.

Everything random comes from the seed, by one generator per purpose, so that another choice of faults does not
also change the tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from labkit.core import history as h
from labkit.core.autoscaler import Autoscaler, Limits
from labkit.core.broker.policies import Policy
from labkit.core.broker.scheduler import Scheduler
from labkit.core.history import Event
from labkit.core.peers.client_session import ClientSession
from labkit.core.peers.session import Phase
from labkit.core.peers.worker_session import WorkerSession
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.autoscaling import Autoscaling
from labkit.simulation.broker import BrokerHost
from labkit.simulation.clients import ClientProcess, Outcome
from labkit.simulation.ground_truth import Truth
from labkit.simulation.loop import Loop
from labkit.simulation.model import Broken, Violation
from labkit.simulation.network import USUAL_BYTES_PER_S, Link, Network
from labkit.simulation.online_checker import WHOLE_CHECK_EVERY, Witness
from labkit.simulation.process import Process
from labkit.simulation.work import CAPABILITIES, Work
from labkit.simulation.workers import WATCHDOG_SLACK, Post

SCAN_EVERY_S: Final = 0.2
BACK_S: Final = 3.0
"""After a wake-up, a mended link or a new broker, a worker or client is back after so long."""
SETTLE_S: Final = 20.0
MOST_STEPS: Final = 2_000_000


@dataclass(frozen=True)
class Parts:
    """The state machines under test; the mutation check puts broken ones in their place."""

    scheduler: Callable[..., Scheduler] = Scheduler
    worker_session: Callable[..., WorkerSession] = WorkerSession
    client_session: Callable[..., ClientSession] = ClientSession
    autoscaler: Callable[[Limits, float], Autoscaler] = Autoscaler
    dismiss: Callable[[Post], None] = Post.stop  # how a worker is taken away that is not needed any more
    sweep_first: bool = False  # the broker's loop judges the silent before it has read what arrived


class World:
    """One run's cluster. ``faults.py`` does things to it, ``run.py`` runs it."""

    def __init__(
        self,
        seed: int,
        workers: int,
        works: list[Work],
        policy: str | Policy,
        rules: Rules,
        safety_s: float,
        thorough: bool,
        wire: bool,
        parts: Parts,
    ) -> None:
        self.seed = seed
        self.rules = rules
        self.safety_s = safety_s
        self.faults_over = False
        self.loop = Loop()
        self.truth = Truth(self.loop, rules)
        self.works = {work.task: work for work in works}
        self.witness = Witness(rules, self.works, self.truth, self.loop)
        self.witness.every = 1 if thorough else WHOLE_CHECK_EVERY
        self.witness.least_busy = policy == "least_busy"
        self.truth.blame = self.witness.blame
        name = policy if isinstance(policy, str) else getattr(policy, "__name__", "?")
        self.broker = BrokerHost(
            self.loop, self.random("broker"), lambda epoch, now: parts.scheduler(rules, epoch, now, policy),
            name, self.witness, parts.sweep_first,
        )  # fmt: skip
        self.witness.connections = self.broker.connections
        self.network = Network(self.loop, self.random("network"), self.broker, wire)
        self.broker.network = self.network
        self.posts = self._make_posts(workers, parts)
        self.intruders: list[Post] = []  # workers with an id that another one has
        self.clients = self._make_clients(works, parts)
        self.truth.posts = self.posts.copy()
        self.truth.clients = self.clients
        self.autoscaling: Autoscaling | None = None
        self._parts = parts

    def random(self, purpose: str) -> Random:
        """Return this run's generator for one purpose."""
        return Random(f"{self.seed} {purpose}")

    def _make_posts(self, workers: int, parts: Parts) -> list[Post]:
        random = self.random("posts")
        posts = []
        # Who states no capabilities can do everything, even what nobody has thought of.
        everything = random.choice((frozenset[str](), frozenset(CAPABILITIES)))
        for number in range(1, workers + 1):
            versatile = number == 1 or random.random() < 0.7  # the first is the one that remains
            able = everything if versatile else frozenset(random.sample(CAPABILITIES, 2))
            slots = random.choice((1, 1, 1, 2, 3))
            posts.append(self._post(f"worker-{number}", able, slots, random, parts))
        return posts

    def _post(self, name: str, able: frozenset[str], slots: int, random: Random, parts: Parts) -> Post:
        own = Random(random.random())
        make = parts.worker_session
        return Post(name, self.loop, self.network, own, self.rules, able, slots, self.works, self.truth, make)

    def _make_clients(self, works: list[Work], parts: Parts) -> list[ClientProcess]:
        random = self.random("clients")
        count = random.choice((1, 2, 2, 3))
        share: list[list[Work]] = [[] for _ in range(count)]
        for work in works:
            share[random.randrange(count)].append(work)
        return [
            ClientProcess(
                f"client-{i + 1}", self.loop, self.network, Random(random.random()), self.rules, mine,
                self._judge_outcome, parts.client_session,
            )
            for i, mine in enumerate(share)
        ]  # fmt: skip

    # --- what may be done to it -----------------------------------------------------------------------------

    def note(self, fault: str, target: str) -> None:
        """Write into the history that a fault is about to strike."""
        self.broker.history.append(Event(self.loop.now, h.FAULT, detail={"fault": fault, "target": target}))

    def intruder(self, post: Post) -> Post:
        """Return a new post with the name of an existing one."""
        twin = self._post(
            post.name, post.capabilities, 1, self.random(f"intruder {self.loop.now}"), self._parts
        )
        self.intruders.append(twin)
        self.truth.posts.append(twin)
        return twin

    def autoscale(self, random: Random) -> None:
        """Let an autoscaler decide from now on how many of the workers there are."""
        self.autoscaling = Autoscaling(
            self.loop, self.broker, self.posts, random, self._parts, self.note, self.witness.blame
        )
        self.autoscaling.start()

    def heal(self, random: Random) -> None:
        """End all faults: liveness begins. Perhaps only the one worker that can do everything remains."""
        self.faults_over = True
        self.note("heal", "all")
        if self.autoscaling is not None:
            self.autoscaling.end()
        self.broker.thaw()
        self.broker.start()
        hosts: list[Post | ClientProcess] = [*self.posts, *self.intruders, *self.clients]
        for host in hosts:
            self._heal_link(host.link, random)
        for client in self.clients:
            client.thaw()
        for twin in self.intruders:
            twin.kill()
        alone = random.random() < 0.3
        for number, post in enumerate(self.posts):
            post.slowness = 1.0
            if post.up is not None:
                post.up.thaw()
            post.persistent = True
            if alone and number:
                post.kill()
            elif number == 0 or post.wanted or random.random() < 0.5:
                post.start()

    def _heal_link(self, link: Link, random: Random) -> None:
        if link.cut:
            self.network.mend(link, keep=random.random() < 0.5)
        link.bytes_per_s = USUAL_BYTES_PER_S
        link.latency_s, link.jitter_s = min(link.latency_s, 0.002), min(link.jitter_s, 0.001)

    # --- its two phases -------------------------------------------------------------------------------------

    def run(self) -> Violation | None:
        """Live through both phases; returns the first violation, if there is one."""
        random = self.random("heal")
        try:
            self._start(random)
            self.loop.at(self.safety_s, self.heal, random)
            self._live(self.safety_s + self._bound_s())
        except Broken as broken:
            return broken.violation
        return None

    def _start(self, random: Random) -> None:
        self.loop.at(random.choice((0.0, 0.0, 0.3)), self.broker.start)
        for client in self.clients:
            client.start()
        for post in self.posts:
            self.loop.at(random.random() * 0.1, post.start)
        self.loop.after(SCAN_EVERY_S, self._scan)

    def _bound_s(self) -> float:
        """Return how long everything may take to end after the faults, on one worker with one slot."""
        r = self.rules
        natures = [work.nature for work in self.works.values()]
        compute_s = sum(
            work.compute_s for work in self.works.values() if work.nature not in ("hangs", "locks")
        )
        hung_s = (natures.count("hangs") + natures.count("stalls")) * r.max_hangs * (r.lease_s + 3.0)
        crash_s = natures.count("poison") * r.max_crashes * (1.0 + r.dead_s)
        # Once for nothing: who keeps the lock from the start cannot announce it. Then carefully.
        locked_s = (
            natures.count("locks") * (r.max_crashes + 1) * (WATCHDOG_SLACK * r.lease_s + 1.0 + r.dead_s)
        )
        # A task may be computed again: its client was away when its result came.
        return SETTLE_S + r.client_gone_s + r.broker_gone_s + 3 * compute_s + hung_s + crash_s + locked_s

    def _live(self, until: float) -> None:
        step = self.loop.step
        while not self.settled:
            if not step(until):
                self.witness.blame("liveness", self._what_is_open())
            if self.loop.steps > MOST_STEPS:
                self.witness.blame("liveness", f"{MOST_STEPS} steps and no end: it goes round in circles")
        self.witness.check_everything()

    @property
    def settled(self) -> bool:
        """Whether the faults are over and each task of each living client has its outcome, here and there."""
        return (
            self.faults_over
            and all(client.finished for client in self.clients)
            and not self.broker.tables.tasks
            and all(post.up is None or not post.up.session.held for post in self.posts)
            and not any(worker.in_flight for worker in self.broker.tables.workers)
        )

    def _what_is_open(self) -> str:
        waiting = {client.name: len(client.session.open) for client in self.clients if client.alive}
        tasks = [
            f"{task.hex} {task.state.value} #{task.attempt}" for task in self.broker.tables.tasks.values()
        ]
        phases = {post.name: post.up.session.phase.value if post.up else "down" for post in self.posts}
        return f"not all ended in time: clients wait for {waiting}, the broker has {tasks[:5]}, {phases}"

    # --- what is judged in the world, not at the broker -----------------------------------------------------

    def _judge_outcome(
        self, client: ClientProcess, work: Work, outcome: Outcome, message: m.Message | None
    ) -> None:
        """3: at most one outcome a task; a result equal to the reference; a failure only if deserved."""
        blame, name = self.witness.blame, work.task.hex()
        if work.task in client.outcomes:
            blame("one_outcome", f"task {name}: {outcome.kind} after {client.outcomes[work.task].kind}")
        if outcome.kind == "done":
            assert isinstance(message, m.Result)
            if work.nature not in ("fine", "stalls") or message.payload != work.result:
                blame("right_result", f"task {name} ({work.nature}) has the result {message.payload.body!r}")
        elif outcome.kind == "cancelled":
            if work.task not in client.cancelled:
                blame("deserved_failure", f"task {name} was cancelled, and nobody asked for it")
        elif outcome.kind in ("DEADLINE", "NO_WORKER"):
            early_s = client.asked[work.task] + work.budget_s - self.loop.now
            if early_s > 0.001:
                blame("deserved_failure", f"task {name}: {outcome.kind}, {early_s:.3f} s before its deadline")

    def _scan(self) -> None:
        self.loop.after(SCAN_EVERY_S, self._scan)
        if self.broker.accepts:
            for client in self.clients:
                if client.alive and not client.frozen:
                    self._judge_client(client)
            for post in self.posts:
                if post.up is not None and not post.up.frozen:
                    self._judge_worker(post)

    def _calm(self, process: Process) -> bool:
        """Return whether a process, its link and the broker have been well for long enough to be together."""
        link = process.link
        if link.cut or link.latency_s > 0.01 or (process.socket is not None and process.socket.fooled):
            link.quick_since = self.loop.now
        since = max(process.since, link.mended_at, link.quick_since, self.broker.since)
        return self.loop.now - since > BACK_S

    def _judge_client(self, client: ClientProcess) -> None:
        """1: while client and broker agree that they are connected, what one was promised the other has."""
        session, places = client.session, client.session.tables()
        parts = len(places.waiting) + len(places.sent) + len(places.accepted)
        if len(session.open) != parts:
            self.witness.blame("conservation", f"{client.name} has {len(session.open)} open, {parts} placed")
        connection = client.socket.connection if client.socket is not None else None
        record = self.broker.tables.clients.at(connection.route) if connection is not None else None
        ready = session.phase is Phase.READY
        if self._calm(client) and not (ready and record is not None):
            state = session.phase.value
            self.witness.blame("back_in_time", f"{client.name} is {state} {BACK_S} s after all is well")
        quiet = connection is not None and connection.quiet and not self.broker.busy
        if quiet and ready and record is not None:
            lost = places.accepted - record.tasks.keys()
            if lost:
                self.witness.blame("conservation", f"{len(lost)} accepted tasks of {client.name} are nowhere")

    def _judge_worker(self, post: Post) -> None:
        """Fault table: a worker that can speak with the broker is in its fleet before long."""
        process = post.up
        assert process is not None
        session, tables = process.session, process.session.tables()
        waiting, computing = len(tables.line), len(tables.held.keys() & tables.runs.keys())
        if len(tables.held) != waiting + computing:
            held = f"{len(tables.held)}, {waiting} in line and {computing} handed over"
            self.witness.blame("held", f"{post.name} holds {held}")
        worker = self.broker.tables.workers.get(post.name)
        here = worker is not None and worker.epoch == session.epoch
        if self._calm(process) and not here and not self.intruders:
            state = session.phase.value
            self.witness.blame("back_in_time", f"{post.name} is {state} {BACK_S} s after all is well")
