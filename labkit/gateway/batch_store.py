"""Keeps the batches in Redis, so that a new gateway knows those of the former one.

A thread of its own writes: a batch that changes often is written at most every ``WRITE_S``, its latest state.
Without Redis the batches live in the gateway's memory only; ``where`` names the place, and every answer
contains it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from labkit.gateway.batch_record import BatchRecord, decode

log = logging.getLogger("labkit.gateway")

KEY = "labkit_batches"
KEEP_S = 24 * 3600.0
WRITE_S = 0.2
TIMEOUT_S = 0.5
AGAIN_S = 1.0
LOOK_S = 1.0
"""How often Redis is asked for a sign of life while nothing is written: ``where`` has to be true."""


class BatchStore:
    """The batches in one Redis; ``url`` None: none. Any thread may call it."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._waiting: dict[str, Callable[[], str] | None] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._works = url is not None
        self._thread = threading.Thread(target=self._run, name="labkit-batch-store", daemon=True)
        self._thread.start()

    @property
    def where(self) -> str:
        """Where batches are kept now: redis or memory."""
        return "redis" if self._works else "memory"

    def load(self) -> list[BatchRecord]:
        """Return the batches that are kept, the oldest first; none if Redis does not answer."""
        if self._url is None:
            return []
        from redis import RedisError

        from labkit.mirror.redis_client import open_client

        try:
            client = open_client(self._url, TIMEOUT_S)
            try:
                kept: dict[bytes, bytes] = client.hgetall(KEY)  # type: ignore[assignment]
            finally:
                client.close()
        except (RedisError, OSError) as error:
            log.warning("the batches in Redis cannot be read: %s", error)
            self._works = False
            return []
        records = []
        for field, text in kept.items():
            try:
                record = decode(text)
            except ValueError as error:
                log.warning("%s in Redis is no batch: %s", field.decode("utf-8", "replace"), error)
                continue
            if record.created > time.time() - KEEP_S:
                records.append(record)
            else:
                self.drop(record.id)
        return sorted(records, key=lambda record: record.created)

    def save(self, id: str, text: Callable[[], str]) -> None:
        """Keep a batch; ``text`` returns its JSON when it is written."""
        self._put(id, text)

    def drop(self, id: str) -> None:
        """Keep this batch no longer."""
        self._put(id, None)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _put(self, id: str, text: Callable[[], str] | None) -> None:
        with self._lock:
            self._waiting[id] = text
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(LOOK_S)  # and look whether Redis is still there
            self._wake.clear()
            closing = self._closing
            written = self._url is None or self._write(self._url)
            if closing:
                return
            pause = threading.Event()
            pause.wait(WRITE_S if written else AGAIN_S)
            if not written:
                self._wake.set()

    def _write(self, url: str) -> bool:
        from redis import RedisError

        from labkit.mirror.redis_client import open_client

        with self._lock:
            waiting, self._waiting = self._waiting, {}
        try:
            client = open_client(url, TIMEOUT_S)
            try:
                if not waiting:
                    client.ping()
                for id, text in waiting.items():
                    if text is None:
                        client.hdel(KEY, id)
                    else:
                        client.hset(KEY, id, text())
            finally:
                client.close()
        except (RedisError, OSError) as error:
            if self._works or waiting:
                log.warning("the batches cannot be kept in Redis: %s", error)
            with self._lock:
                self._waiting = {**waiting, **self._waiting}
            self._works = False
            return False
        self._works = True
        return True
