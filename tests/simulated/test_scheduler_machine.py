"""Hypothesis plays all peers: any order of messages, closures and silences leaves the tables right.

The peers of the simulation follow the protocol; here none does. Workers answer for attempts they never had,
clients submit tasks twice, connections close twice. After every step all invariants hold, and the history has
the beginning and the end of every task.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labkit.core import history as h
from labkit.core.broker.inputs import ClientClosed, FromClient, FromWorker, Tick, ToClient, WorkerClosed
from labkit.core.broker.scheduler import Scheduler
from labkit.core.protocol import messages as m
from labkit.core.protocol import wire
from labkit.core.protocol.rules import Rules
from labkit.simulation.invariants import broken

RULES = replace(
    Rules(),
    lease_s=3.0,
    task_deadline_s=60.0,
    max_queued_tasks=12,
    max_client_tasks=8,
    max_client_bytes=4000,
    max_ahead=4,
)
CLIENT_ROUTES = [f"client route {i}" for i in range(3)]
WORKER_ROUTES = [f"worker route {i}" for i in range(4)]
TASKS = [bytes([i]) * 16 for i in range(10)]
NEEDS = ["", "blur", "blur,edges", "teleport"]

client_routes = st.sampled_from(CLIENT_ROUTES)
worker_routes = st.sampled_from(WORKER_ROUTES)
tasks = st.sampled_from(TASKS)
attempts = st.integers(min_value=0, max_value=4)
# 3e38: about the largest number that a field of seconds (4 bytes) can carry.
odd_seconds = st.sampled_from([0.0, 0.001, 5.0, -1.0, 3e38, float("inf"), float("nan")])


class SchedulerMachine(RuleBasedStateMachine):
    """One scheduler, three clients, four workers' connections, ten task ids."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epochs = 0
        self.scheduler = Scheduler(RULES, b"machine!", 0.0)
        self.opened: Counter[bytes] = Counter()
        self.ended: Counter[bytes] = Counter()

    def feed(self, event: Any) -> None:
        """Hand an event over, and record the transitions and check the messages that come out."""
        actions = self.scheduler.handle(event, self.now)
        for transition in self.scheduler.take_events():
            task = bytes.fromhex(transition.task)
            self.opened[task] += transition.kind == h.SUBMITTED
            self.ended[task] += transition.kind in h.OUTCOMES
        for action in actions:
            message = action.message
            assert type(message) in (m.TO_CLIENT if type(action) is ToClient else m.TO_WORKER)
            assert action.route is not None
            for envelope, frames in wire.envelopes([message]):
                wire.decode(envelope, frames)  # every message can be encoded

    @initialize()
    def first_hellos(self) -> None:
        for number, route in enumerate(CLIENT_ROUTES[:2]):
            self.feed(FromClient(route, m.ClientHello(bytes([number]) * 16, f"client {number}")))
        for number, route in enumerate(WORKER_ROUTES[:3]):
            self.worker_hello(route, number, 1 + number, "" if number else "blur,edges", 0)

    # --- clients --------------------------------------------------------------------------------------------

    @rule(route=client_routes, number=st.integers(0, 2))
    def client_hello(self, route: str, number: int) -> None:
        self.feed(FromClient(route, m.ClientHello(bytes([number]) * 16, f"client {number}")))

    @rule(
        route=client_routes,
        task=tasks,
        needs=st.sampled_from(NEEDS),
        size=st.sampled_from([0, 900, 5000]),
        budget_s=st.one_of(st.just(3600.0), st.just(0.2), odd_seconds),
        lease_s=st.one_of(st.just(0.0), odd_seconds),
    )
    def submit(self, route: str, task: bytes, needs: str, size: int, budget_s: float, lease_s: float) -> None:
        self.feed(FromClient(route, m.Submit(task, budget_s, lease_s, "job", needs, m.Payload(bytes(size)))))

    @rule(route=client_routes, task=tasks)
    def cancel(self, route: str, task: bytes) -> None:
        self.feed(FromClient(route, m.Cancel(task)))

    @rule(
        route=client_routes,
        message=st.sampled_from(
            [m.Heartbeat(), m.Bulk(1 << 40), m.Note(1, "kill", "x"), m.Query(2), m.ClientGoodbye(), m.Stale()]
        ),
    )
    def client_sends(self, route: str, message: m.Message) -> None:
        self.feed(FromClient(route, message))

    @rule(route=client_routes)
    def client_closes(self, route: str) -> None:
        self.feed(ClientClosed(route))

    # --- workers --------------------------------------------------------------------------------------------

    @rule(
        route=worker_routes,
        number=st.integers(0, 3),
        slots=st.sampled_from([0, 1, 2, 6, 65]),
        able=st.sampled_from(["", "blur", "blur,edges"]),
        process=st.integers(0, 1),
    )
    def worker_hello(self, route: str, number: int, slots: int, able: str, process: int) -> None:
        self.epochs += 1
        epoch, instance = self.epochs.to_bytes(8, "big"), bytes([number, process]) * 4
        self.feed(FromWorker(route, m.WorkerHello(instance, epoch, slots, 1, f"worker-{number}", able)))

    def held_by(self, route: str, task: bytes, attempt: int) -> tuple[bytes, int]:
        """Return an attempt that the worker really has if ``attempt`` is 0, and the given one otherwise."""
        worker = self.scheduler.workers.at(route)
        if attempt or worker is None or not worker.tasks:
            return task, attempt
        mine = next(iter(worker.tasks.values()))
        return mine.id, mine.attempt

    @rule(route=worker_routes, task=tasks, attempt=attempts, seconds=odd_seconds)
    def done(self, route: str, task: bytes, attempt: int, seconds: float) -> None:
        self.feed(
            FromWorker(route, m.Done(*self.held_by(route, task, attempt), seconds, m.Payload(b"result")))
        )

    @rule(route=worker_routes, task=tasks, attempt=attempts, confirm=st.integers(0, 1))
    def started(self, route: str, task: bytes, attempt: int, confirm: int) -> None:
        self.feed(FromWorker(route, m.Started(*self.held_by(route, task, attempt), confirm)))

    @rule(route=worker_routes, task=tasks, attempt=attempts, code=st.sampled_from(["ERROR", "HUNG", "?"]))
    def error(self, route: str, task: bytes, attempt: int, code: str) -> None:
        which = self.held_by(route, task, attempt)
        self.feed(FromWorker(route, m.WorkerError(*which, 0.1, code, "it raised", m.EMPTY)))

    @rule(route=worker_routes, task=tasks, attempt=attempts)
    def returned(self, route: str, task: bytes, attempt: int) -> None:
        self.feed(FromWorker(route, m.Returned(*self.held_by(route, task, attempt))))

    @rule(
        route=worker_routes,
        message=st.sampled_from(
            [
                m.Heartbeat(),
                m.Bulk(1 << 60),
                m.Leaving(),
                m.WorkerGoodbye(),
                m.Task(TASKS[0], 1, 1.0, 0, m.EMPTY),
            ]
        ),
    )
    def worker_sends(self, route: str, message: m.Message) -> None:
        self.feed(FromWorker(route, message))

    @rule(route=worker_routes)
    def worker_closes(self, route: str) -> None:
        self.feed(WorkerClosed(route))

    # --- time -----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.12, 0.3, 0.45]), turns=st.integers(1, 30))
    def time_passes(self, seconds: float, turns: int) -> None:
        for _ in range(turns):
            self.now += seconds
            self.feed(Tick())

    @rule(seconds=st.sampled_from([0.6, 3.0, 70.0]))
    def broker_sleeps(self, seconds: float) -> None:
        self.now += seconds

    # --- what must always be true ---------------------------------------------------------------------------

    @invariant()
    def the_tables_are_right(self) -> None:
        assert broken(self.scheduler.tables(), self.now) == []

    @invariant()
    def what_was_opened_and_has_not_ended_is_open(self) -> None:
        assert self.opened - self.ended == Counter(self.scheduler.tasks.keys())

    @invariant()
    def there_is_a_next_deadline_while_any_peer_is_connected(self) -> None:
        due = self.scheduler.next_deadline()
        peers = len(self.scheduler.workers) or len(self.scheduler.clients)
        assert due is not None or not peers

    def teardown(self) -> None:
        """Once all peers are gone, everything ends, whatever came before."""
        for route in WORKER_ROUTES:
            self.feed(WorkerClosed(route))
        for route in CLIENT_ROUTES:
            self.feed(ClientClosed(route))
        for _ in range(100):
            self.now += 0.4
            self.feed(Tick())
        assert (
            not self.scheduler.tasks
            and not len(self.scheduler.queue)
            and not self.scheduler.clients.open_bytes
        )
        assert not len(self.scheduler.clients) and not len(self.scheduler.workers)
        assert self.opened == +self.ended
        assert self.scheduler.life.deadlines.next_deadline() is None


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
