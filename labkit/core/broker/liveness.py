"""Liveness: which peers are silent, which have hung, and how long silence may last.

Part of the scheduler; only the scheduler imports it. It marks workers as suspect and reports what it finds;
the scheduler decides what becomes of their tasks. Rules:

* Liveness is judged only in ``Tick``, which comes after everything that had arrived was handed over, so a
  message that waits in a socket always counts.
* The broker's own sleep is not a peer's silence. A gap between ticks of more than a heartbeat means that the
  broker was frozen, suspended or overloaded: every peer gets a full period again.
* Time in which workers could not report does not count as compute time: leases are extended by it.
* A peer that announced a large message (``Bulk``) may be silent for as long as that takes on a slow
  connection.
"""

from __future__ import annotations

from labkit.core import history as h
from labkit.core.broker.blame import Blame
from labkit.core.broker.client_table import ClientTable
from labkit.core.broker.inputs import Output, ToClient, ToWorker
from labkit.core.broker.records import ClientRecord, Route, Worker
from labkit.core.broker.worker_table import WorkerTable
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.core.protocol.rules import Rules


class Liveness:
    """See the module's head."""

    def __init__(
        self,
        rules: Rules,
        workers: WorkerTable,
        clients: ClientTable,
        blame: Blame,
        output: Output,
        now: float,
    ) -> None:
        self._rules = rules
        self._workers = workers
        self._clients = clients
        self._blame = blame
        self._actions = output.actions
        self._events = output.events
        self._counters = output.counters
        self._last_tick = now
        self._next_beat = now
        self._next_sweep = now

    @property
    def next_look(self) -> float:
        """When the next heartbeat or sweep is due."""
        return min(self._next_beat, self._next_sweep)

    # --- what peers report ----------------------------------------------------------------------------------

    def peer_arrives(self, now: float) -> None:
        """Note a hello. After an idle period no ``Tick`` was due, so that gap is not an oversleep."""
        if not len(self._workers) and not len(self._clients):
            self._last_tick = now

    def recover(self, worker: Worker, heard_before: float, now: float) -> None:
        """Clear the suspicion against a worker that is heard again."""
        self.extend_leases(worker, now - heard_before)
        worker.suspect = False
        self._workers.touch(worker)
        self._events.append(Event(now, h.ALIVE, "", 0, worker.id))

    def announce(self, peer: Worker | ClientRecord, bulk: m.Bulk, now: float) -> None:
        """Be patient with a peer while the announced bytes are on their way."""
        rules = self._rules
        peer.patience_s = min(bulk.size, rules.max_message_bytes) / rules.slow_link_bytes_per_s

    def last_heard(self, route: Route) -> float:
        """Return when the peer at this connection last sent a message that counted; -inf if never."""
        peer = self._workers.at(route) or self._clients.at(route)
        return float("-inf") if peer is None else peer.last_heard

    def announced_bytes(self) -> int:
        """Return how many bytes peers have announced, at most what the broker could take."""
        patience_s = sum(peer.patience_s for side in (self._workers, self._clients) for peer in side)
        return int(min(patience_s * self._rules.slow_link_bytes_per_s, self._rules.max_queued_bytes))

    # --- each tick ------------------------------------------------------------------------------------------

    def notice_oversleep(self, now: float) -> bool:
        """Note a ``Tick``; if it comes late, do not blame peers for the time in which the broker slept.

        Returns whether it came late.
        """
        slept = now - self._last_tick > self._rules.heartbeat_s
        if slept:
            self.forgive_silence(now)
        self._last_tick = now
        return slept

    def forgive_silence(self, now: float) -> None:
        """Start every peer's period again, and extend all leases by the time since the last ``Tick``."""
        self._counters["oversleeps"] += 1
        for worker in self._workers:
            worker.last_heard = now
            self.extend_leases(worker, now - self._last_tick)
        for client in self._clients:
            client.last_heard = now

    def extend_leases(self, worker: Worker, by_s: float) -> None:
        """Do not count ``by_s`` seconds, in which this worker could not report, as compute time."""
        for task in worker.tasks.values():
            if task.started_at is not None:
                task.started_at += by_s

    def is_sweep_due(self, now: float) -> bool:
        """Return whether it is time to look at every peer: a few times per heartbeat."""
        return now >= self._next_sweep

    def sweep_workers(self, now: float) -> list[tuple[Worker, str]]:
        """Mark the suspects; return the workers to give up, each with the cause: silent, or lease."""
        rules = self._rules
        self._next_sweep = now + rules.heartbeat_s / 4
        lost: list[tuple[Worker, str]] = []
        for worker in self._workers:
            silent_s = now - worker.last_heard - worker.patience_s
            if silent_s >= rules.dead_s:
                lost.append((worker, "silent"))
            elif silent_s >= rules.suspect_s:
                if not worker.suspect:
                    worker.suspect = True
                    self._workers.touch(worker)
                    self._events.append(Event(now, h.SUSPECT, "", 0, worker.id))
            elif any(self._blame.is_hung(task, now) for task in worker.tasks.values()):
                lost.append((worker, "lease"))  # it sends heartbeats, but not the report that is overdue
        return lost

    def gone_clients(self, now: float) -> list[ClientRecord]:
        """Return the clients that have been silent for too long."""
        gone_s = self._rules.client_gone_s
        return [client for client in self._clients if now - client.last_heard - client.patience_s >= gone_s]

    def beat(self, now: float) -> None:
        """Send a heartbeat to every peer if one is due."""
        if now < self._next_beat:
            return
        self._next_beat = now + self._rules.heartbeat_s
        beat = m.Heartbeat()
        self._actions += [ToWorker(worker.route, beat) for worker in self._workers]
        self._actions += [
            ToClient(client.route, beat) for client in self._clients if client.route is not None
        ]
