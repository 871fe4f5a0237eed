"""A whole cluster on a virtual clock: broker, workers, clients, links, and what may be done to them.

A run has two phases. *Safety*: faults strike while tasks are submitted and computed. *Liveness*: the faults
stop, a broker, the clients and at least one capable worker remain, and everything must end within a bound.

Everything random comes from the seed, by one generator per purpose, so that another choice of faults does not
also change the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from labkit.core import history as h
from labkit.core.broker.policies import Policy
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules
from labkit.simulation.autoscaling import Autoscaling
from labkit.simulation.broker import BrokerHost
from labkit.simulation.clients import NEST_LEASE_S, ClientProcess, Outcome
from labkit.simulation.connection import USUAL_BYTES_PER_S, Link
from labkit.simulation.ground_truth import GroundTruth
from labkit.simulation.loop import Loop
from labkit.simulation.network import Network
from labkit.simulation.observation import Observation
from labkit.simulation.online_checker import WHOLE_CHECK_EVERY, OnlineChecker
from labkit.simulation.parts import Parts
from labkit.simulation.peer_checker import PeerChecker
from labkit.simulation.scenario import Place, Scenario
from labkit.simulation.violation import PromiseBroken, Violation, violated
from labkit.simulation.work import CAPABILITIES, Work
from labkit.simulation.worker_process import WATCHDOG_SLACK, Computed
from labkit.simulation.worker_slot import WorkerSlot

SETTLE_S: Final = 20.0
EARLY_EVERY_S: Final = 0.1
MOST_STEPS: Final = 2_000_000


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
        scenario: Scenario | None = None,
    ) -> None:
        self.seed = seed
        self.rules = rules
        self.safety_s = safety_s
        self.faults_over = False
        self.loop = Loop()
        self.works = {work.task: work for work in works}
        self._parts = parts
        self._computed = Computed()
        self.truth = GroundTruth(self.loop, rules, self._computed)
        seen = Observation(rules, self.works, self.truth, self.loop)
        self.checker = OnlineChecker(seen, policy == "least_busy", 1 if thorough else WHOLE_CHECK_EVERY)
        name = policy if isinstance(policy, str) else getattr(policy, "__name__", "?")
        self.broker = BrokerHost(
            self.loop, self.random("broker"), lambda epoch, now: parts.scheduler(rules, epoch, now, policy),
            name, self.checker, parts.sweep_first,
        )  # fmt: skip
        seen.connections = self.broker.connections
        self.network = Network(self.loop, self.random("network"), self.broker, wire)
        self.broker.network = self.network
        self.nested: list[ClientProcess] = []  # those that tasks have opened
        self._scenario = scenario
        self.slots = self._make_slots(workers) if scenario is None else self._slots_at(scenario.places)
        self.intruders: list[WorkerSlot] = []  # workers with an id that another one has
        self.clients: list[ClientProcess] = []
        self.peer_checker = PeerChecker(self.loop, self.broker, self.slots, self.intruders, self.clients)
        self.clients += self._make_clients(works)
        self.truth.slots = self.slots.copy()
        self.truth.clients = self.clients.copy()
        self.autoscaling: Autoscaling | None = None
        self._all_remain = scenario is not None  # the chosen workers also live after the faults

    def random(self, purpose: str) -> Random:
        """Return this run's generator for one purpose."""
        return Random(f"{self.seed} {purpose}")

    def _make_slots(self, workers: int) -> list[WorkerSlot]:
        random = self.random("posts")
        made = []
        # A worker that states no capabilities can do everything, even what is on no list.
        everything = random.choice((frozenset[str](), frozenset(CAPABILITIES)))
        for number in range(1, workers + 1):
            versatile = number == 1 or random.random() < 0.7  # the first is the one that remains
            able = everything if versatile else frozenset(random.sample(CAPABILITIES, 2))
            compute_slots = random.choice((1, 1, 1, 2, 3))
            made.append(self._slot(f"worker-{number}", able, compute_slots, random))
        return made

    def _slots_at(self, places: Sequence[Place]) -> list[WorkerSlot]:
        random = self.random("posts")
        made = []
        for number, place in enumerate(places, 1):
            slot = self._slot(place.name or f"worker-{number}", place.capabilities, place.slots, random)
            slot.slowness = slot.usual_slowness = place.slowness
            made.append(slot)
        return made

    def _slot(self, name: str, able: frozenset[str], compute_slots: int, random: Random) -> WorkerSlot:
        return WorkerSlot(
            name, self.loop, self.network, Random(random.random()), self.rules, able, compute_slots,
            self.works, self._computed, self._parts.worker_session, self._open_nest,
            self._parts.quiet_process,
        )  # fmt: skip

    def _open_nest(self, work: Work, outcome: Callable[[str], None]) -> ClientProcess:
        """Return a client that lives in a worker's process and submits the task nested in this one."""
        number = len(self.nested)
        child = work.nested(number, self.loop.now)
        self.works[child.task] = child

        def take(
            client: ClientProcess, about: Work, found: Outcome, message: m.Result | m.Failed | None
        ) -> None:
            self.peer_checker.judge_outcome(client, about, found, message)
            outcome(found.kind)

        client = ClientProcess(
            f"nested-{number}", self.loop, self.network, self.random(f"nested {number}"), self.rules, [child],
            take, self._parts.client_session,
        )  # fmt: skip
        self.nested.append(client)
        self.truth.clients.append(client)
        return client

    def _make_clients(self, works: list[Work]) -> list[ClientProcess]:
        random = self.random("clients")
        share: dict[str, list[Work]] = {}
        if self._scenario is not None and self._scenario.clients:
            for work in works:
                share.setdefault(self._scenario.clients[work.task], []).append(work)
        else:
            count = random.choice((1, 2, 2, 3))
            share = {f"client-{number}": [] for number in range(1, count + 1)}
            names = list(share)
            for work in works:
                share[names[random.randrange(count)]].append(work)
        return [
            ClientProcess(
                name, self.loop, self.network, Random(random.random()), self.rules, mine,
                self.peer_checker.judge_outcome, self._parts.client_session,
            )
            for name, mine in share.items()
        ]  # fmt: skip

    # --- what may be done to it -----------------------------------------------------------------------------

    def note(self, fault: str, target: str) -> None:
        """Write into the history that a fault is about to strike."""
        self.truth.is_disturbed |= fault != "heal"
        self.broker.history.append(Event(self.loop.now, h.FAULT, detail={"fault": fault, "target": target}))

    def intruder(self, slot: WorkerSlot) -> WorkerSlot:
        """Return a new slot with the name of an existing one."""
        twin = self._slot(slot.name, slot.capabilities, 1, self.random(f"intruder {self.loop.now}"))
        self.intruders.append(twin)
        self.truth.slots.append(twin)
        return twin

    def autoscale(self, random: Random) -> None:
        """Let an autoscaler decide from now on how many of the workers there are."""
        self.autoscaling = Autoscaling(self.loop, self.broker, self.slots, random, self._parts, self.note)
        self.autoscaling.start()

    def heal(self, random: Random) -> None:
        """End all faults: liveness begins. Perhaps only the one worker that can do everything remains."""
        self.faults_over = True
        self.note("heal", "all")
        if self.autoscaling is not None:
            self.autoscaling.end()
        self.broker.thaw()
        self.broker.start()
        hosts: list[WorkerSlot | ClientProcess] = [*self.slots, *self.intruders, *self.clients]
        for host in hosts:
            self._heal_link(host.link, random)
        for client in self.clients:
            client.thaw()
        for twin in self.intruders:
            twin.kill()
        alone = random.random() < 0.3 and not self._all_remain
        for number, slot in enumerate(self.slots):
            slot.slowness = slot.usual_slowness
            if slot.up is not None:
                slot.up.thaw()
            slot.persistent = True
            if alone and number:
                slot.kill()
            elif number == 0 or slot.wanted or random.random() < 0.5:
                slot.start()

    def _heal_link(self, link: Link, random: Random) -> None:
        if link.cut:
            self.network.mend(link, keep=random.random() < 0.5)
        link.bytes_per_s = USUAL_BYTES_PER_S
        link.latency_s, link.jitter_s = min(link.latency_s, 0.002), min(link.jitter_s, 0.001)

    # --- its two phases -------------------------------------------------------------------------------------

    def run(self) -> Violation | None:
        """Live through both phases; return the first violation, if there is one."""
        random = self.random("heal")
        try:
            self._start(random)
            self.loop.at(self.safety_s, self.heal, random)
            if self._scenario is not None and self._scenario.ends_with_its_tasks:
                self._heal_early(random)
            self._live(self.safety_s + self._bound_s())
        except PromiseBroken as broken:
            return broken.violation
        return None

    def _start(self, random: Random) -> None:
        self.loop.at(random.choice((0.0, 0.0, 0.3)), self.broker.start)
        for client in self.clients:
            client.start()
        places: Sequence[Place] = () if self._scenario is None else self._scenario.places
        later = {slot.name: place.starts_at for slot, place in zip(self.slots, places, strict=False)}
        for slot in self.slots:
            soon, at = random.random() * 0.1, later.get(slot.name)
            self.loop.at(soon if at is None else at, slot.start)
        self.peer_checker.start()

    def _heal_early(self, random: Random) -> None:
        """Heal as soon as each client has all its outcomes."""
        if all(client.finished for client in self.clients):
            self.heal(random)
        elif not self.faults_over:
            self.loop.after(EARLY_EVERY_S, self._heal_early, random)

    def _bound_s(self) -> float:
        """Return how long everything may take to end after the faults, on one worker with one slot."""
        r = self.rules
        behaviours = [work.behaviour for work in self.works.values()]
        endless = ("hangs", "locks")
        compute_s = sum(work.compute_s for work in self.works.values() if work.behaviour not in endless)
        hung = behaviours.count("hangs") + behaviours.count("stalls")
        hung_s = hung * r.max_hangs * (r.lease_s + 3.0)
        crash_s = behaviours.count("poison") * r.max_crashes * (1.0 + r.dead_s)
        # Once without evidence: a task that keeps the lock from the start cannot announce it. Then carefully.
        lock_s = WATCHDOG_SLACK * r.lease_s + 1.0 + r.dead_s
        locked_s = behaviours.count("locks") * (r.max_crashes + 1) * lock_s
        nested_s = behaviours.count("nests") * r.max_hangs * (NEST_LEASE_S + 3.0)
        # A task may be computed again: its client was away when its result came.
        return (
            SETTLE_S
            + r.client_gone_s
            + r.broker_gone_s
            + 3 * compute_s
            + hung_s
            + crash_s
            + locked_s
            + nested_s
        )

    def _live(self, until: float) -> None:
        step = self.loop.step
        while not (self.faults_over and self.settled):
            if not step(until):
                violated("liveness", self.loop.now, self._what_is_open())
            if self.loop.steps > MOST_STEPS:
                why = f"{MOST_STEPS} steps and no end: it goes round in circles"
                violated("liveness", self.loop.now, why)
        self.checker.check_everything()

    @property
    def settled(self) -> bool:
        """Whether the faults are over and each task of each living client has its outcome, here and there."""
        return (
            self.faults_over
            and all(client.finished for client in self.clients)
            and not self.broker.tables.tasks
            and all(slot.up is None or not slot.up.session.held for slot in self.slots)
            and not any(worker.in_flight for worker in self.broker.tables.workers)
        )

    def _what_is_open(self) -> str:
        waiting = {client.name: len(client.session.open) for client in self.clients if client.alive}
        tasks = [
            f"{task.hex} {task.state.value} #{task.attempt}" for task in self.broker.tables.tasks.values()
        ]
        phases = {slot.name: slot.up.session.phase.value if slot.up else "down" for slot in self.slots}
        return f"not all ended in time: clients wait for {waiting}, the broker has {tasks[:5]}, {phases}"
