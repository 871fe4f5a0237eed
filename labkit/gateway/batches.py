"""The distributed batches: submits their pictures to the cluster, takes the results, and answers for them.

One client of the cluster carries all batches. It survives a broker's restart by itself and submits again what
is open. What a client cannot survive is the gateway's own end: then the next gateway finds the batches in
Redis and submits the tasks without an outcome again, under new ids; callers keep the ids that they know.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from labkit.core.errors import N_, LabkitError
from labkit.gateway.batch_record import OPEN, BatchRecord, Row
from labkit.gateway.batch_store import BatchStore
from labkit.gateway.pictures import Picture, chosen
from labkit.gateway.problems import Problem
from labkit.gateway.spool import Spool
from labkit.imaging.filters import Step
from labkit.jobs import process_encoded

if TYPE_CHECKING:
    from labkit.client.client import Client
    from labkit.client.futures import TaskFuture

log = logging.getLogger("labkit.gateway")

MOST_OPEN = 2_000
"""Pictures under way, of all batches together."""
MOST_BATCHES = 200
"""Batches that are kept: of more, the oldest that are over are forgotten."""


class Batches:
    """All batches of one gateway. Any thread may call it; the client calls back in threads of its own."""

    def __init__(self, client: Client, spool: Spool, store: BatchStore) -> None:
        self._client = client
        self._spool = spool
        self._store = store
        self._lock = threading.Lock()
        self._records: OrderedDict[str, BatchRecord] = OrderedDict()
        self._rows: dict[str, Row] = {}
        self._over: dict[str, Future[BatchRecord]] = {}
        self._futures: dict[str, TaskFuture] = {}
        self._closing = False

    def restore(self) -> int:
        """Take over the batches of a former gateway; return how many tasks had to be submitted again."""
        again = 0
        for record in self._store.load():
            self._add(record)
            for row in record.rows:
                if row.outcome == OPEN:
                    again += self._resume(record, row)
            self._finish(record)
        return again

    def submit(self, pictures: Sequence[Picture], steps: Sequence[Step]) -> BatchRecord:
        """Submit a batch; return its record at once. Raises Problem if too many pictures are under way."""
        with self._lock:
            under_way = len(self._futures)
        if under_way + len(pictures) > MOST_OPEN:
            raise Problem(
                429,
                "batches-busy",
                N_("{n} pictures are under way; with these {more} it would be more than {most}"),
                next_step=N_("send it again when some are done, or send fewer"),
                headers={"Retry-After": "5"},
                n=under_way,
                more=len(pictures),
                most=MOST_OPEN,
            )
        calls = [
            self._client.prepare(process_encoded, (picture.data, list(steps)), {}) for picture in pictures
        ]
        rows = [Row(call.task.hex(), picture.name) for call, picture in zip(calls, pictures, strict=True)]
        record = BatchRecord(secrets.token_hex(16), time.time(), list(steps), rows)
        self._add(record)
        for row, future in zip(rows, self._client.submit_prepared(calls), strict=True):
            self._follow(record, row, future)
        return record

    def find(self, id: str) -> BatchRecord:
        """Return a batch. Raises Problem if there is none with this id."""
        record = self._records.get(id)
        if record is None:
            raise Problem(
                404,
                "no-batch",
                N_("there is no batch {id}"),
                next_step=N_("POST /api/process-batch/distributed/ answers with the ids of its batch"),
                id=id[:40],
            )
        return record

    def row_of(self, task: str) -> Row | None:
        """Return the picture that belongs to the id of a task, or None if it is no batch's."""
        return self._rows.get(task)

    def latest(self) -> list[BatchRecord]:
        """Return all batches that are kept, the latest first."""
        with self._lock:
            return list(reversed(self._records.values()))

    def over(self, record: BatchRecord) -> Future[BatchRecord]:
        """Return a future that is done when the batch is."""
        return self._over[record.id]

    def cancel(self, record: BatchRecord) -> int:
        """Cancel what has not started; return how many tasks that were."""
        futures = [self._futures.get(row.task) for row in record.rows if row.outcome == OPEN]
        return sum(future.cancel() for future in futures if future is not None)

    def answer(self, record: BatchRecord) -> dict[str, Any]:
        """Return a batch as its caller sees it; ``kept_in`` shows whether a restart can lose it."""
        return {**record.answer(time.time()), "kept_in": self._store.where}

    def close(self) -> None:
        """Stop taking outcomes: open tasks stay open in the store, for the next gateway."""
        self._closing = True

    # --- one task -------------------------------------------------------------------------------------------

    def _resume(self, record: BatchRecord, row: Row) -> bool:
        """Submit a former gateway's task again, unless its result is here; return whether that was needed."""
        if row.id in self._spool or row.task in self._spool:
            record.take(row, None, row.worker, row.attempts, time.time())
            return False
        try:
            (picture,) = chosen([row.image], 1, self._spool)
            call = self._client.prepare(process_encoded, (picture.data, record.steps), {})
        except LabkitError as error:
            record.take(row, error, "", 0, time.time())
            return False
        row.present = call.task.hex()
        record.resubmitted += 1
        self._rows[row.present] = row
        self._follow(record, row, self._client.submit_prepared([call])[0])
        return True

    def _follow(self, record: BatchRecord, row: Row, future: TaskFuture) -> None:
        with self._lock:
            self._futures[row.task] = future
        future.add_done_callback(lambda done: self._take(record, row, future))

    def _take(self, record: BatchRecord, row: Row, future: TaskFuture) -> None:
        """Note an outcome; the client calls it in a thread of its own."""
        with self._lock:
            self._futures.pop(row.task, None)
        if self._closing:
            return
        error: BaseException | None = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            try:
                self._spool.put(future.result(), row.task)
            except Problem as problem:
                error = problem
        with self._lock:
            record.take(row, error, future.worker or "", future.attempt, time.time())
        self._finish(record)

    # --- one batch ------------------------------------------------------------------------------------------

    def _add(self, record: BatchRecord) -> None:
        with self._lock:
            self._records[record.id] = record
            self._over[record.id] = Future()
            for row in record.rows:
                self._rows[row.task] = row
            forgotten = self._forget_oldest()
        for old in forgotten:
            self._store.drop(old.id)
        self._store.save(record.id, record.encode)

    def _forget_oldest(self) -> list[BatchRecord]:
        too_many = len(self._records) - MOST_BATCHES
        old = [record for record in self._records.values() if not record.is_open][: max(0, too_many)]
        for record in old:
            del self._records[record.id], self._over[record.id]
            for row in record.rows:
                self._rows.pop(row.task, None)
                self._rows.pop(row.present, None)
        return old

    def _finish(self, record: BatchRecord) -> None:
        self._store.save(record.id, record.encode)
        over = self._over.get(record.id)
        if over is not None and not record.is_open:
            with self._lock:
                if not over.done():
                    over.set_result(record)
