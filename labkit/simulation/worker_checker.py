"""Judges each published transition of a worker: joined, suspect, alive, draining, left, lost."""

from __future__ import annotations

from labkit.core import history as h
from labkit.core.broker.inputs import FromWorker
from labkit.core.history import Event
from labkit.core.protocol import messages as m
from labkit.simulation.model import ModelWorker
from labkit.simulation.observation import Observation

_NOTHING: frozenset[str] = frozenset()


class WorkerChecker:
    """``handlers`` are by the kind of event; the docstring of each says which promise it checks."""

    def __init__(self, seen: Observation) -> None:
        self._seen = seen
        self.handlers = {
            h.JOINED: self._joined, h.SUSPECT: self._suspect, h.ALIVE: self._alive,
            h.DRAINING: self._draining, h.LOST: self._lost, h.LEFT: self._left,
        }  # fmt: skip

    def _joined(self, event: Event) -> None:
        """7: a worker that joins is new, and no other has its id."""
        seen, model = self._seen, self._seen.model
        seen.demand(event.worker not in model.workers, "one_worker_an_id", "{} joined twice", event.worker)
        epoch = event.detail["epoch"]
        seen.demand(epoch not in model.epochs, "current_epoch", "{} joined with a used epoch", event.worker)
        model.epochs.add(epoch)
        stated = event.detail["capabilities"]
        capabilities = frozenset(stated.split(",")) if stated else _NOTHING
        model.workers[event.worker] = ModelWorker(epoch, event.detail["slots"], capabilities)

    def _worker(self, event: Event) -> ModelWorker:
        worker = self._seen.model.workers.get(event.worker)
        if worker is None:
            self._seen.violated("current_epoch", f"{event.kind}: {event.worker} is not there")
        return worker

    def _suspect(self, event: Event) -> None:
        self._worker(event).suspect = True

    def _alive(self, event: Event) -> None:
        self._worker(event).suspect = False

    def _draining(self, event: Event) -> None:
        self._worker(event).draining = True

    def _left(self, event: Event) -> None:
        """1: what a worker held when it left is requeued or ended by the same event."""
        worker = self._worker(event)
        del self._seen.model.workers[event.worker]
        self._seen.model.orphans = dict.fromkeys(worker.held, worker)

    def _lost(self, event: Event) -> None:
        """12: a worker is given up only with a reason: it was silent, hung, or its connection broke.

        A worker that is well is never given up because of another one with its id. Its own hello that comes
        late, by a connection that it has left meanwhile, is not another worker's.
        """
        seen, model, truth = self._seen, self._seen.model, self._seen.truth
        worker = self._worker(event)
        cause = event.detail["cause"]
        connection = seen.connections.get(worker.route)
        if cause == "silent" and connection is not None:
            silent_s = event.at - connection.last_arrival
            if silent_s < seen.rules.dead_s - 1e-6:
                seen.violated(
                    "on_time", f"{event.worker} was given up {silent_s:.3f} s after its last message"
                )
        hung = cause == "lease" and any(truth.overruns(bytes.fromhex(name)) for name in worker.held)
        if cause == "lease" and not hung:
            seen.violated("on_time", f"{event.worker} was given up without a hung task")
        by = model.event
        own_late_hello = (
            type(by) is FromWorker and type(by.message) is m.WorkerHello
            and by.message.epoch.hex() != worker.epoch
            and by.message.instance == truth.instance_of(event.worker, worker.epoch)
        )  # fmt: skip
        if not hung and not own_late_hello and truth.is_well(event.worker, worker.epoch):
            seen.violated("on_time", f"{event.worker} was given up ({cause}) and is well")
        self._left(event)
