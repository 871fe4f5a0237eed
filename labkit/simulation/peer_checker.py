"""Judges what the peers see: each outcome that a client receives, and at intervals that all agree.

The online checker judges the broker; what only the clients and workers know is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from labkit.core.peers.session import Phase
from labkit.core.protocol import messages as m
from labkit.simulation.broker import BrokerHost
from labkit.simulation.clients import ClientProcess, Outcome
from labkit.simulation.loop import Loop
from labkit.simulation.process import Process
from labkit.simulation.violation import violated
from labkit.simulation.work import Work
from labkit.simulation.worker_process import WorkerProcess
from labkit.simulation.worker_slot import WorkerSlot

SCAN_EVERY_S: Final = 0.2
BACK_S: Final = 3.0
"""After a wake-up, a mended link or a new broker, a worker or client is back after so long."""


class PeerChecker:
    """``slots`` and ``clients`` are those that are scanned; ``intruders`` share their id with one of them."""

    def __init__(
        self,
        loop: Loop,
        broker: BrokerHost,
        slots: Sequence[WorkerSlot],
        intruders: Sequence[WorkerSlot],
        clients: Sequence[ClientProcess],
    ) -> None:
        self._loop = loop
        self._broker = broker
        self._slots = slots
        self._intruders = intruders
        self._clients = clients

    def start(self) -> None:
        """Scan from now on."""
        self._loop.after(SCAN_EVERY_S, self._scan)

    def _scan(self) -> None:
        self.start()
        if self._broker.accepts:
            for client in self._clients:
                if client.alive and not client.frozen:
                    self._judge_client(client)
            for slot in self._slots:
                if slot.up is not None and not slot.up.frozen:
                    self._judge_worker(slot.up)

    def _violated(self, invariant: str, why: str) -> NoReturn:
        violated(invariant, self._loop.now, why)

    def judge_outcome(
        self, client: ClientProcess, work: Work, outcome: Outcome, message: m.Result | m.Failed | None
    ) -> None:
        """3: at most one outcome a task; a result equal to the reference; a failure only if deserved."""
        name = work.task.hex()
        if work.task in client.outcomes:
            before = client.outcomes[work.task].kind
            self._violated("one_outcome", f"task {name}: {outcome.kind} after {before}")
        if outcome.kind == "done":
            assert message is not None
            if work.behaviour not in ("fine", "stalls", "nests") or message.payload != work.result:
                why = f"task {name} ({work.behaviour}) has the result {message.payload.body!r}"
                self._violated("right_result", why)
        elif outcome.kind == "cancelled":
            if work.task not in client.cancelled:
                self._violated("deserved_failure", f"task {name} was cancelled without being asked to")
        elif outcome.kind in ("DEADLINE", "NO_WORKER"):
            early_s = client.asked[work.task] + work.budget_s - self._loop.now
            if early_s > 0.001:
                why = f"task {name}: {outcome.kind}, {early_s:.3f} s before its deadline"
                self._violated("deserved_failure", why)

    def _calm(self, process: Process) -> bool:
        """Return whether a process, its link and the broker have been well for longer than ``BACK_S``."""
        link = process.link
        if link.cut or link.latency_s > 0.01 or (process.socket is not None and process.socket.is_half_open):
            link.quick_since = self._loop.now
        since = max(process.since, link.mended_at, link.quick_since, self._broker.since)
        return self._loop.now - since > BACK_S

    def _judge_client(self, client: ClientProcess) -> None:
        """1: while client and broker agree that they are connected, the broker has each accepted task."""
        session, places = client.session, client.session.tables()
        placed = len(places.waiting) + len(places.sent) + len(places.accepted)
        if len(session.open) != placed:
            self._violated("conservation", f"{client.name} has {len(session.open)} open, {placed} placed")
        connection = client.socket.connection if client.socket is not None else None
        record = self._broker.tables.clients.at(connection.route) if connection is not None else None
        ready = session.phase is Phase.READY
        if self._calm(client) and not (ready and record is not None):
            state = session.phase.value
            self._violated("back_in_time", f"{client.name} is {state} {BACK_S} s after all is well")
        quiet = connection is not None and connection.quiet and not self._broker.busy
        if quiet and ready and record is not None:
            lost = places.accepted - record.tasks.keys()
            if lost:
                self._violated("conservation", f"{len(lost)} accepted tasks of {client.name} are nowhere")

    def _judge_worker(self, process: WorkerProcess) -> None:
        """Fault table: a worker that can reach the broker is in its table of workers before long."""
        session, tables = process.session, process.session.tables()
        waiting, computing = len(tables.line), len(tables.held.keys() & tables.runs.keys())
        if len(tables.held) != waiting + computing:
            held = f"{len(tables.held)}, {waiting} in line and {computing} handed over"
            self._violated("held", f"{process.name} holds {held}")
        worker = self._broker.tables.workers.get(process.name)
        here = worker is not None and worker.epoch == session.epoch
        if self._calm(process) and not here and not self._intruders:
            state = session.phase.value
            self._violated("back_in_time", f"{process.name} is {state} {BACK_S} s after all is well")
